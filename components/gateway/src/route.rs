//! Which request asks for what.

use api::Problem;
use messages::JobId;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `GET /healthz`
    Health,
    /// `POST /registration`
    Register,
    /// `POST /login`
    Login,
    /// `POST /validate`
    Validate,
    /// `POST /upload`
    Upload,
    /// `GET /jobs`
    Jobs,
    /// `GET /jobs/<id>`
    Job(JobId),
    /// `GET /jobs/<id>/events`
    Events(JobId),
    /// `DELETE /jobs/<id>`
    DeleteJob(JobId),
    /// `GET /download`; `HEAD` answers without the MP3.
    Download {
        /// True for `HEAD`.
        head: bool,
    },
}

/// Finds the route of a method and a path without its query.
///
/// # Errors
/// 404 for an unknown path, 405 for a known one with another method.
pub fn find(method: &str, path: &str) -> Result<Route, Problem> {
    let reading = matches!(method, "GET" | "HEAD");
    let (route, allow) = match path {
        "/healthz" => (reading.then_some(Route::Health), "GET, HEAD"),
        "/registration" => ((method == "POST").then_some(Route::Register), "POST"),
        "/login" => ((method == "POST").then_some(Route::Login), "POST"),
        "/validate" => ((method == "POST").then_some(Route::Validate), "POST"),
        "/upload" => ((method == "POST").then_some(Route::Upload), "POST"),
        "/jobs" => (reading.then_some(Route::Jobs), "GET, HEAD"),
        "/download" => (reading.then_some(Route::Download { head: method == "HEAD" }), "GET, HEAD"),
        _ => {
            let rest = path.strip_prefix("/jobs/").unwrap_or_default();
            let (id, events) = rest.strip_suffix("/events").map_or((rest, false), |id| (id, true));
            let id: JobId = id.parse().map_err(|_| Problem::not_found("nothing is here"))?;
            if events {
                return (method == "GET")
                    .then_some(Route::Events(id))
                    .ok_or_else(|| Problem::method_not_allowed("GET"));
            }
            let route = match method {
                "GET" | "HEAD" => Some(Route::Job(id)),
                "DELETE" => Some(Route::DeleteJob(id)),
                _ => None,
            };
            (route, "GET, HEAD, DELETE")
        }
    };
    route.ok_or_else(|| Problem::method_not_allowed(allow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_by_its_method() {
        let id = JobId::new(1, [1; 10]);
        let job = format!("/jobs/{id}");
        let events = format!("/jobs/{id}/events");
        for (method, path, route) in [
            ("GET", "/healthz", Route::Health),
            ("POST", "/registration", Route::Register),
            ("POST", "/login", Route::Login),
            ("POST", "/validate", Route::Validate),
            ("POST", "/upload", Route::Upload),
            ("GET", "/jobs", Route::Jobs),
            ("GET", &job, Route::Job(id)),
            ("GET", &events, Route::Events(id)),
            ("DELETE", &job, Route::DeleteJob(id)),
            ("GET", "/download", Route::Download { head: false }),
            ("HEAD", "/download", Route::Download { head: true }),
        ] {
            assert_eq!(find(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn other_methods_are_405_and_other_paths_404() {
        let job = format!("/jobs/{}", JobId::new(1, [1; 10]));
        for (method, path) in [
            ("GET", "/upload"),
            ("POST", "/jobs"),
            ("PUT", job.as_str()),
            ("HEAD", &format!("{job}/events")),
            ("get", "/healthz"),
        ] {
            assert_eq!(find(method, path).unwrap_err().status(), 405, "{method} {path}");
        }
        for path in [
            "/",
            "",
            "/jobs/",
            "/jobs/..",
            "/jobs/1",
            "/uploads",
            "/healthz/",
            "/jobs/../healthz",
            "/jobs//events",
            "/jobs/1/events",
        ] {
            assert_eq!(find("GET", path).unwrap_err().status(), 404, "{path}");
        }
    }
}
