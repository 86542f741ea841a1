//! The component's export: finds the route, asks who the client is, calls the handler.

mod accounts;
mod download;
mod events;
mod jobs;
mod sweep;
mod upload;

use api::{Answer, Problem, Query, answer, wasi};
use http::StatusCode;
use spin_sdk::wasip3::exports::http::handler::Guest;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response};

use self::bindings::tessera::auth::tokens::{self, Claims};
use self::bindings::tessera::blob::types::Error as BlobError;
use self::bindings::tessera::keyvalue::types::Error as StoreError;
use crate::route::{self, Route};

/// The interfaces of the capabilities and of `auth`.
mod bindings {
    #![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
    // The same runtime as spin-sdk's, so that a request's body and a blob's are one type.
    spin_sdk::wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package tessera:gateway-component;
            world component {
                import tessera:auth/accounts@0.1.0;
                import tessera:auth/tokens@0.1.0;
                import tessera:blob/store@0.1.0;
                import tessera:keyvalue/store@0.1.0;
            }
        ",
        world: "tessera:gateway-component/component",
        runtime_path: "spin_sdk::wit_bindgen::rt",
        generate_all,
    });
}

struct Gateway;

spin_sdk::wasip3::http::service::export!(Gateway);

impl Guest for Gateway {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = api::request::split_target(&target);
        let method = wasi::method_name(request.get_method());
        let route = match route::find(&method, path) {
            Ok(Route::Health) => return wasi::respond(answer::empty(StatusCode::OK)),
            Ok(route) => route,
            Err(problem) => return wasi::respond(problem.into()),
        };
        match handle(route, &Query::parse(query), request).await {
            Ok(Reply::Answer(answer)) => wasi::respond(answer),
            Ok(Reply::Stream(response)) => Ok(response),
            Err(problem) => wasi::respond(problem.into()),
        }
    }
}

/// What a handler made.
enum Reply {
    Answer(Answer),
    Stream(Response),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

async fn handle(route: Route, query: &Query, request: Request) -> Result<Reply, Problem> {
    let headers = request.get_headers();
    match route {
        Route::Health => Ok(answer::empty(StatusCode::OK).into()),
        Route::Register => accounts::register(request).await.map(Reply::from),
        Route::Login => accounts::login(&headers).await.map(Reply::from),
        Route::Validate => accounts::validate(&headers).await.map(Reply::from),
        Route::Upload => {
            let user = authenticate(&headers).await?;
            upload::upload(&user, query, &headers, request).await.map(Reply::from)
        }
        Route::Jobs => jobs::list(&authenticate(&headers).await?, query).await.map(Reply::from),
        Route::Job(id) => jobs::show(&authenticate(&headers).await?, id).await.map(Reply::from),
        Route::Events(id) => events::events(&authenticate(&headers).await?, id).await,
        Route::DeleteJob(id) => jobs::delete(&authenticate(&headers).await?, id).await.map(Reply::from),
        Route::Download { head } => download::download(&authenticate(&headers).await?, query, &headers, head).await,
    }
}

/// Who the client is.
async fn authenticate(headers: &Fields) -> Result<Claims, Problem> {
    let authorization = wasi::header(headers, "authorization");
    let token = api::credentials::bearer(authorization.as_deref())
        .ok_or_else(|| Problem::unauthorized("missing credentials", "Bearer"))?;
    tokens::verify(token.to_owned()).await.map_err(|error| match error {
        tokens::Error::Invalid => Problem::unauthorized("the token is not valid, log in again", "Bearer"),
        tokens::Error::Unavailable(_) => Problem::unavailable(),
    })
}

/// What the client reads of a store's error; the log gets it whole.
fn store_problem(what: &str, error: &StoreError) -> Problem {
    eprintln!("gateway: {what}: {error}");
    match error {
        StoreError::Unavailable(_) => Problem::unavailable(),
        _ => Problem::internal(),
    }
}

/// What the client reads of a blob store's error; the log gets it whole.
fn blob_problem(what: &str, error: &BlobError) -> Problem {
    eprintln!("gateway: {what}: {error}");
    match error {
        BlobError::Unavailable(_) => Problem::unavailable(),
        _ => Problem::internal(),
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
