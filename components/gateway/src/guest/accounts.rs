//! Registration, login and the validation of tokens.

use api::{Answer, Problem, answer, credentials, wasi};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use spin_sdk::wasip3::http::types::{Fields, Request};

use super::bindings::tessera::auth::{accounts, tokens};

/// The largest registration, in bytes.
const MAX_REGISTRATION: usize = 64 << 10;

#[derive(Deserialize)]
struct Registration {
    email: Option<String>,
    username: Option<String>,
    password: Option<SecretString>,
    name: Option<String>,
}

/// `POST /registration`
pub(super) async fn register(request: Request) -> Result<Answer, Problem> {
    let body = wasi::read_body(request, MAX_REGISTRATION).await?;
    let Registration { email, username, password, name } = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("the body is not a JSON object with email and password"))?;
    let username = match (email, username) {
        (Some(email), Some(username)) if email != username => {
            return Err(Problem::bad_request("email and username differ: send one of them"));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(Problem::bad_request("email is required")),
    };
    let password = password.ok_or_else(|| Problem::bad_request("password is required"))?;
    let registration =
        accounts::Registration { username, password: password.expose_secret().to_owned(), display_name: name };
    match accounts::register(registration).await {
        Ok(account) => Ok(answer::json(
            StatusCode::CREATED,
            &serde_json::json!({ "message": "User created", "id": account.id, "username": account.username }),
        )),
        Err(accounts::Error::Taken) => Err(Problem::new(StatusCode::CONFLICT, "the email address is taken")),
        Err(accounts::Error::Invalid(what)) => Err(Problem::bad_request(what)),
        Err(accounts::Error::InvalidCredentials | accounts::Error::Unavailable(_)) => Err(Problem::unavailable()),
    }
}

/// `POST /login`
pub(super) async fn login(headers: &Fields) -> Result<Answer, Problem> {
    let authorization = wasi::header(headers, "authorization");
    let (username, password) = credentials::basic(authorization.as_deref())
        .ok_or_else(|| Problem::unauthorized("missing credentials", "Basic"))?;
    match accounts::login(username, password.expose_secret().to_owned()).await {
        Ok(token) => Ok(answer::text(StatusCode::OK, token)),
        Err(accounts::Error::InvalidCredentials) => Err(Problem::unauthorized("Invalid credentials", "Basic")),
        Err(accounts::Error::Invalid(_) | accounts::Error::Taken | accounts::Error::Unavailable(_)) => {
            Err(Problem::unavailable())
        }
    }
}

/// `POST /validate`
pub(super) async fn validate(headers: &Fields) -> Result<Answer, Problem> {
    let authorization = wasi::header(headers, "authorization");
    let token = credentials::bearer(authorization.as_deref())
        .ok_or_else(|| Problem::unauthorized("missing credentials", "Bearer"))?;
    match tokens::verify(token.to_owned()).await {
        Ok(claims) => Ok(answer::json(
            StatusCode::OK,
            &serde_json::json!({
                "sub": claims.sub,
                "username": claims.username,
                "role": claims.role,
                "admin": claims.admin,
                "jti": claims.jti,
                "iss": claims.iss,
                "aud": claims.aud,
                "iat": claims.iat,
                "nbf": claims.nbf,
                "exp": claims.exp,
            }),
        )),
        Err(tokens::Error::Invalid) => Err(Problem::forbidden("not authorized")),
        Err(tokens::Error::Unavailable(_)) => Err(Problem::unavailable()),
    }
}
