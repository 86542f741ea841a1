//! The component's exports: a consumer of every queue, and the list over HTTP.

use api::{Answer, Problem, Query, answer, credentials, wasi};
use http::StatusCode;
use messages::names;
use spin_sdk::wasip3::exports::http::handler;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response};

use self::bindings::exports::tessera::queue::consumer;
use self::bindings::tessera::auth::tokens;
use self::bindings::tessera::keyvalue::store;
use self::bindings::tessera::keyvalue::types::{Add, Check, Error as StoreError, Operation, Range, Set};
use self::bindings::tessera::queue::types::{Delivery, Rejection, Retry};
use crate::filter::Filter;
use crate::page::{MAX_PAGE, MAX_SIZE, Page, SIZE};
use crate::report::{self, Report};

mod bindings {
    #![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
    spin_sdk::wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package tessera:reporter-component;
            world component {
                import tessera:auth/tokens@0.1.0;
                import tessera:keyvalue/store@0.1.0;
                export tessera:queue/consumer@0.1.0;
            }
        ",
        world: "tessera:reporter-component/component",
        runtime_path: "spin_sdk::wit_bindgen::rt",
        generate_all,
    });
    export!(Reporter);
    use super::Reporter;
}

struct Reporter;

spin_sdk::wasip3::http::service::export!(Reporter);

/// The most entries that the store gives at once.
const STORE_PAGE: u32 = 1000;

impl consumer::Guest for Reporter {
    async fn consume(delivery: Delivery) -> Result<(), Rejection> {
        let Delivery { id, queue, message, first_published, .. } = delivery;
        let report = Report::new(&id, &queue, first_published, &message.body);
        let value =
            messages::to_json(&report).map_err(|error| Rejection::Discard(format!("cannot write JSON: {error}")))?;
        let key = report::key(first_published, &id);
        let checks = vec![Check { key: key.clone(), version: None }];
        let operations = vec![
            Operation::Set(Set { key, value, time_to_live: None }),
            Operation::Add(Add { key: report::count_key(&queue), delta: 1 }),
        ];
        match store::commit(names::EVENTS.into(), checks, operations).await {
            // A conflict: this delivery was kept before.
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error @ (StoreError::TooLarge(_) | StoreError::Invalid(_))) => {
                Err(Rejection::Discard(format!("the store refuses the event: {error}")))
            }
            Err(error) => {
                Err(Rejection::Retry(Retry { after: None, reason: format!("the event is not kept: {error}") }))
            }
        }
    }
}

impl handler::Guest for Reporter {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        wasi::respond(serve(&request).await.unwrap_or_else(Answer::from))
    }
}

async fn serve(request: &Request) -> Result<Answer, Problem> {
    let target = request.get_path_with_query().unwrap_or_default();
    let (path, query) = api::request::split_target(&target);
    if path != "/api/v1/report/list" {
        return Err(Problem::not_found("nothing is here"));
    }
    if !matches!(wasi::method_name(request.get_method()).as_str(), "GET" | "HEAD") {
        return Err(Problem::method_not_allowed("GET, HEAD"));
    }
    require_admin(&request.get_headers()).await?;
    list(&Query::parse(query)).await
}

async fn require_admin(headers: &Fields) -> Result<(), Problem> {
    let authorization = wasi::header(headers, "authorization");
    let token = credentials::bearer(authorization.as_deref())
        .ok_or_else(|| Problem::unauthorized("missing credentials", "Bearer"))?;
    match tokens::verify(token.to_owned()).await {
        Ok(claims) if claims.admin => Ok(()),
        Ok(_) => Err(Problem::forbidden("for admins only")),
        Err(tokens::Error::Invalid) => Err(Problem::unauthorized("the token is not valid, log in again", "Bearer")),
        Err(tokens::Error::Unavailable(_)) => Err(Problem::unavailable()),
    }
}

async fn list(query: &Query) -> Result<Answer, Problem> {
    let page = Page { page: query.number("page", 1, 1..=MAX_PAGE)?, size: query.number("size", SIZE, 1..=MAX_SIZE)? };
    let filter = Filter::parse(query.get("filter")).map_err(Problem::bad_request)?;
    let total = total(&filter).await?;
    let reports = if page.skipped() < total { reports(page, &filter).await? } else { Vec::new() };
    Ok(answer::json(StatusCode::OK, &page.listing(total, reports)))
}

/// How many reports a filter accepts, from the counters of the topics.
async fn total(filter: &Filter) -> Result<u64, Problem> {
    let mut total = 0_u64;
    let mut cursor = None;
    loop {
        let page = store::list(names::EVENTS.into(), under(report::COUNT_PREFIX), STORE_PAGE, false, cursor)
            .await
            .map_err(|error| problem(&error))?;
        let counts = page.entries.iter().filter_map(|entry| report::count(&entry.key, &entry.value));
        for (_, count) in counts.filter(|(topic, _)| filter.accepts(topic)) {
            total = total.saturating_add(count);
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(total);
        }
    }
}

/// The reports of a page, newest first. Reads from the newest on, one page of the store at a time.
async fn reports(page: Page, filter: &Filter) -> Result<Vec<Report>, Problem> {
    let mut skip = page.skipped();
    let mut reports = Vec::new();
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let wanted = u32::try_from(skip.saturating_add(page.size)).unwrap_or(STORE_PAGE).clamp(1, STORE_PAGE);
    let limit = if *filter == Filter::All { wanted } else { STORE_PAGE };
    let mut cursor = None;
    loop {
        let found = store::list(names::EVENTS.into(), under(report::REPORT_PREFIX), limit, true, cursor)
            .await
            .map_err(|error| problem(&error))?;
        for entry in found.entries {
            let Ok(report) = messages::from_json::<Report>(&entry.value) else {
                eprintln!("reporter: a report is damaged: {}", String::from_utf8_lossy(&entry.key));
                continue;
            };
            if !filter.accepts(&report.topic) {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            reports.push(report);
            if reports.len() >= size {
                return Ok(reports);
            }
        }
        cursor = found.cursor;
        if cursor.is_none() {
            return Ok(reports);
        }
    }
}

fn under(prefix: &str) -> Range {
    Range { prefix: Some(prefix.into()), start: None, end: None }
}

fn problem(error: &StoreError) -> Problem {
    eprintln!("reporter: listing: {error}");
    match error {
        StoreError::Unavailable(_) => Problem::unavailable(),
        _ => Problem::internal(),
    }
}
