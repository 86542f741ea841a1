//! Registration, login, tokens.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::client::{PASSWORD, User, Visitor, problem};
use crate::support::eventually;
use crate::support::server::{ADMIN, shared};

async fn validate(visitor: &Visitor, authorization: Option<&str>) -> Response {
    let mut request = visitor.request(Method::POST, "/validate");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.send().await.expect("an answer")
}

async fn claims(user: &User) -> Value {
    let response = validate(&user.visitor, Some(&format!("Bearer {}", user.token))).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.expect("claims")
}

#[tokio::test]
async fn registration_says_what_is_wrong() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let response = visitor.register(&json!({"username": "Ada@Example.org", "password": PASSWORD, "name": "Ada"})).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.json::<Value>().await.expect("JSON")["message"], "User created");
    // Addresses are compared without regard to case.
    problem(visitor.register(&json!({"email": "ada@example.ORG", "password": PASSWORD})).await, 409).await;
    for (body, part) in [
        (json!({"email": "no address", "password": PASSWORD}), "address"),
        (json!({"email": "eve@example.org", "password": "seven77"}), "8"),
        (json!({"email": "eve@example.org"}), "password"),
        (json!({"password": PASSWORD}), "email"),
        (json!(["eve@example.org", PASSWORD]), "JSON object"),
    ] {
        let detail = problem(visitor.register(&body).await, 400).await;
        assert!(detail.contains(part), "{body}: {detail}");
    }
    problem(visitor.login("eve@example.org", PASSWORD).await, 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_registrations_of_one_name_one_succeeds() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let body = json!({"email": "everybody@example.org", "password": PASSWORD});
    let responses = join_all((0..50).map(|_| visitor.register(&body))).await;
    let count = |status: u16| responses.iter().filter(|response| response.status() == status).count();
    assert_eq!((count(201), count(409)), (1, 49), "{:?}", responses.iter().map(Response::status).collect::<Vec<_>>());
    assert_eq!(visitor.login("everybody@example.org", PASSWORD).await.status(), StatusCode::OK);
}

/// How long a login was refused, and all that the client sees of it.
async fn refused(visitor: &Visitor, email: &str) -> (Duration, String) {
    let start = Instant::now();
    let response = visitor.login(email, "not the password").await;
    let time = start.elapsed();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let headers = response.headers().clone();
    let body = response.text().await.expect("a body");
    (time, format!("{:?}\n{:?}\n{body}", headers.get("www-authenticate"), headers.get("content-type")))
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_look_the_same() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let known = visitor.user().await;
    // The shortest of several tries, in turns: what else runs on the machine only adds to it. Hashing a password takes
    // far longer than anything else; where it is left out, more tries bring the times no closer.
    let (mut known_time, mut unknown_time) = (Duration::MAX, Duration::MAX);
    let mut tries = 0;
    eventually("both take the same time", async || {
        tries += 1;
        let (time, known_text) = refused(&visitor, &known.email).await;
        known_time = known_time.min(time);
        let (time, unknown_text) = refused(&visitor, "nobody@example.org").await;
        unknown_time = unknown_time.min(time);
        assert_eq!(known_text, unknown_text);
        assert!(known_text.contains("Invalid credentials"), "{known_text}");
        (tries >= 3 && unknown_time < 2 * known_time && known_time < 2 * unknown_time).then_some(())
    })
    .await;
    let missing = visitor.request(Method::POST, "/login").send().await.expect("an answer");
    assert!(missing.headers()["www-authenticate"].to_str().expect("text").starts_with("Basic"));
    assert_eq!(problem(missing, 401).await, "missing credentials");
}

#[tokio::test]
async fn a_token_says_whose_it_is() {
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let user = visitor.user().await;
    let said = claims(&user).await;
    assert_eq!((&said["username"], &said["role"], &said["admin"]), (&json!(user.email), &json!("user"), &json!(false)));
    let number = |name: &str| said[name].as_u64().unwrap_or_else(|| panic!("{name} in {said}"));
    assert_eq!(number("exp") - number("iat"), 24 * 60 * 60);
    assert_eq!(number("nbf"), number("iat"));
    for name in ["sub", "jti", "iss", "aud"] {
        assert!(said[name].as_str().is_some_and(|text| !text.is_empty()), "{name} in {said}");
    }
    let again = visitor.logged_in(&user.email, PASSWORD).await;
    let other = claims(&again).await;
    assert_eq!(said["sub"], other["sub"]);
    assert_ne!(said["jti"], other["jti"]);

    let admin = visitor.admin().await;
    let said = claims(&admin).await;
    assert_eq!((&said["username"], &said["role"], &said["admin"]), (&json!(ADMIN.0), &json!("admin"), &json!(true)));
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    let running = shared();
    let visitor = Visitor::of(&running.server);
    let user = visitor.user().await;
    assert_eq!(problem(validate(&visitor, None).await, 401).await, "missing credentials");
    assert_eq!(problem(validate(&visitor, Some("Basic YTpi")).await, 401).await, "missing credentials");

    let [header, payload, signature] = user.token.split('.').collect::<Vec<_>>()[..] else { panic!("{}", user.token) };
    let mut said: Value = serde_json::from_slice(&BASE64.decode(payload).expect("base64")).expect("JSON");
    said["admin"] = json!(true);
    said["role"] = json!("admin");
    let promoted = BASE64.encode(said.to_string());
    let none = BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let mut other: Vec<u8> = BASE64.decode(signature).expect("base64");
    other[0] ^= 1;
    for token in [
        format!("{header}.{promoted}.{signature}"),
        format!("{none}.{promoted}."),
        format!("{none}.{payload}.{signature}"),
        format!("{header}.{payload}.{}", BASE64.encode(other)),
        format!("{header}.{payload}"),
        "x".repeat(5000),
    ] {
        let response = validate(&visitor, Some(&format!("Bearer {token}"))).await;
        assert_eq!(problem(response, 403).await, "not authorized", "{token}");
        let response = User { token: token.clone(), ..user.clone() }.get("/jobs").await;
        problem(response, 401).await;
    }
}
