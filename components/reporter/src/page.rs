//! The arithmetic of pages.

use serde::Serialize;

use crate::report::Report;

/// The reports of a page, when the client does not say.
pub const SIZE: u64 = 20;
/// The most reports of a page.
pub const MAX_SIZE: u64 = 100;
/// The last page; what is behind it is reached by a filter.
pub const MAX_PAGE: u64 = 10_000;

/// A page that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub page: u64,
    /// Reports per page, from 1.
    pub size: u64,
}

/// The answer to a list request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    total_count: u64,
    total_pages: u64,
    page: u64,
    size: u64,
    has_more: bool,
    reports: Vec<Report>,
}

impl Page {
    /// How many reports come before it.
    #[must_use]
    pub fn skipped(self) -> u64 {
        self.page.saturating_sub(1).saturating_mul(self.size)
    }

    /// The answer with this page's reports out of `total`.
    #[must_use]
    pub fn listing(self, total: u64, reports: Vec<Report>) -> Listing {
        let total_pages = total.div_ceil(self.size.max(1));
        Listing {
            total_count: total,
            total_pages,
            page: self.page,
            size: self.size,
            has_more: self.page < total_pages,
            reports,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_add_up() {
        for (total, page, pages, more) in
            [(0, 1, 0, false), (20, 1, 1, false), (21, 1, 2, true), (21, 2, 2, false), (5, 9, 1, false)]
        {
            let listing = Page { page, size: 20 }.listing(total, Vec::new());
            assert_eq!((listing.total_pages, listing.has_more), (pages, more), "{total} {page}");
        }
        assert_eq!(Page { page: 1, size: 20 }.skipped(), 0);
        assert_eq!(Page { page: 3, size: 20 }.skipped(), 40);
        assert_eq!(Page { page: u64::MAX, size: 100 }.skipped(), u64::MAX);
    }

    #[test]
    fn the_answer_has_the_names_of_the_api() {
        let json = serde_json::to_value(Page { page: 1, size: 2 }.listing(3, Vec::new())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"totalCount": 3, "totalPages": 2, "page": 1, "size": 2, "hasMore": true, "reports": []})
        );
    }
}
