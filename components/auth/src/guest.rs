//! The component's exports: reads and writes the stores and calls the pure modules.

use std::time::{SystemTime, UNIX_EPOCH};

use messages::{Event, JSON, names};
use secrecy::{ExposeSecret, SecretString};
use spin_sdk::variables;
use uuid::Builder;

use self::bindings::exports::tessera::auth::{accounts, tokens};
use self::bindings::tessera::keyvalue::store;
use self::bindings::tessera::keyvalue::types::{Check, Error as StoreError, Operation, Publication, Set};
use self::bindings::tessera::queue::types::Message;
use crate::account::{self, Account, Registration};
use crate::password;
use crate::token::{self, Claims, SigningKey};

mod bindings {
    #![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
    spin_sdk::wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package tessera:auth-component;
            world component {
                import tessera:keyvalue/store@0.1.0;
                export tessera:auth/accounts@0.1.0;
                export tessera:auth/tokens@0.1.0;
            }
        ",
        world: "tessera:auth-component/component",
        runtime_path: "spin_sdk::wit_bindgen::rt",
        generate_all,
    });
    export!(Auth);
    use super::Auth;
}

struct Auth;

/// Why a call failed, other than by its caller's fault.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the store {0:?} answered: {1}")]
    Store(&'static str, StoreError),
    #[error("a stored account is damaged")]
    DamagedAccount,
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the clock stands before 1970")]
    Clock,
    #[error(transparent)]
    Password(#[from] password::HashError),
    #[error(transparent)]
    Token(#[from] token::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    /// The cause goes to the log; what the caller reads names no parts.
    fn report(&self) -> String {
        eprintln!("auth: {self}");
        "accounts are unavailable, try again later".into()
    }
}

impl From<Failure> for accounts::Error {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure.report())
    }
}

impl From<Failure> for tokens::Error {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(failure.report())
    }
}

impl accounts::Guest for Auth {
    async fn register(registration: accounts::Registration) -> Result<accounts::Account, accounts::Error> {
        let accounts::Registration { username, password, display_name } = registration;
        let registration =
            Registration::new(&username, password.into(), display_name).map_err(accounts::Error::Invalid)?;
        ensure_first_admin(&registration.username).await?;
        match create(registration, false).await? {
            Some(account) => Ok(accounts::Account {
                id: account.id,
                username: account.username,
                display_name: account.display_name,
                admin: account.admin,
            }),
            None => Err(accounts::Error::Taken),
        }
    }

    async fn login(username: String, password: String) -> Result<String, accounts::Error> {
        let password = SecretString::from(password);
        let username = account::normalize(&username);
        if password.expose_secret().len() > account::MAX_PASSWORD {
            return Err(accounts::Error::InvalidCredentials);
        }
        ensure_first_admin(&username).await?;
        let account = find(&username).await?;
        let hash = account.as_ref().map(|account| account.password_hash.as_str());
        let matches = password::verify(&password, hash).map_err(Failure::from)?;
        let Some(account) = account.filter(|_| matches) else {
            return Err(accounts::Error::InvalidCredentials);
        };
        let jti = Builder::from_random_bytes(random()?).into_uuid().to_string();
        let claims = Claims::new(&account, jti, now_ms()? / 1000);
        Ok(signing_key().await?.sign(&claims).map_err(Failure::from)?)
    }
}

impl tokens::Guest for Auth {
    async fn verify(token: String) -> Result<tokens::Claims, tokens::Error> {
        let claims = signing_key().await?.verify(&token).map_err(|_| tokens::Error::Invalid)?;
        let Claims { sub, username, role, admin, jti, iss, aud, iat, nbf, exp } = claims;
        Ok(tokens::Claims { sub, username, role, admin, jti, iss, aud, iat, nbf, exp })
    }
}

fn now_ms() -> Result<u64, Failure> {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Failure::Clock)?;
    u64::try_from(elapsed.as_millis()).map_err(|_| Failure::Clock)
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Failure::Random)?;
    Ok(bytes)
}

/// The account of a normalized username.
async fn find(username: &str) -> Result<Option<Account>, Failure> {
    let Some(key) = account::key(username) else { return Ok(None) };
    let entry =
        store::get(names::ACCOUNTS.into(), key).await.map_err(|error| Failure::Store(names::ACCOUNTS, error))?;
    entry.map(|entry| messages::from_json(&entry.value)).transpose().map_err(|_| Failure::DamagedAccount)
}

/// Makes an account, together with its event; none if the username is taken.
async fn create(registration: Registration, admin: bool) -> Result<Option<Account>, Failure> {
    let Some(key) = account::key(&registration.username) else { return Ok(None) };
    let created = now_ms()?;
    let account = Account {
        id: Builder::from_random_bytes(random()?).into_uuid().to_string(),
        username: registration.username,
        display_name: registration.display_name,
        password_hash: password::hash(&registration.password, random()?)?,
        admin,
        created,
    };
    let event = Event {
        topic: names::events::REGISTERED.into(),
        time: created,
        data: serde_json::json!({ "account": account.id, "admin": admin }),
    };
    let operations = vec![
        Operation::Set(Set { key: key.clone(), value: messages::to_json(&account)?, time_to_live: None }),
        Operation::Publish(Publication {
            queue: names::events::REGISTERED.into(),
            message: Message {
                body: messages::to_json(&event)?,
                content_type: Some(JSON.into()),
                headers: Vec::new(),
                deduplication_id: None,
                not_before: None,
                ordering_key: None,
            },
        }),
    ];
    match store::commit(names::ACCOUNTS.into(), vec![Check { key, version: None }], operations).await {
        Ok(_) => Ok(Some(account)),
        Err(StoreError::Conflict) => Ok(None),
        Err(error) => Err(Failure::Store(names::ACCOUNTS, error)),
    }
}

/// Makes the account that the variables `admin_email` and `admin_password` describe, when its name
/// is first used; so nobody else can register it. Two instances doing so at once make one.
async fn ensure_first_admin(username: &str) -> Result<(), Failure> {
    let Ok(email) = variables::get("admin_email").await else { return Ok(()) };
    if email.is_empty() || account::normalize(&email) != username || find(username).await?.is_some() {
        return Ok(());
    }
    let password = SecretString::from(variables::get("admin_password").await.unwrap_or_default());
    match Registration::new(&email, password, None) {
        Ok(registration) => create(registration, true).await.map(|_| ()),
        Err(wrong) => {
            eprintln!("auth: no first admin, the variables admin_email and admin_password are refused: {wrong}");
            Ok(())
        }
    }
}

/// The signing key. At first use it is made; of concurrent makers one wins, and all use its key.
async fn signing_key() -> Result<SigningKey, Failure> {
    if let Some(key) = stored_signing_key().await? {
        return Ok(key);
    }
    let id = Builder::from_random_bytes(random()?).into_uuid().to_string();
    let key = SigningKey::new(id, random()?);
    let value = key.to_json()?.expose_secret().as_bytes().to_vec();
    let check = Check { key: token::SIGNING_KEY.to_vec(), version: None };
    let set = Operation::Set(Set { key: token::SIGNING_KEY.to_vec(), value, time_to_live: None });
    match store::commit(names::KEYS.into(), vec![check], vec![set]).await {
        Ok(_) => Ok(key),
        Err(StoreError::Conflict) => {
            stored_signing_key().await?.ok_or(Failure::Store(names::KEYS, StoreError::Conflict))
        }
        Err(error) => Err(Failure::Store(names::KEYS, error)),
    }
}

async fn stored_signing_key() -> Result<Option<SigningKey>, Failure> {
    let entry = store::get(names::KEYS.into(), token::SIGNING_KEY.to_vec())
        .await
        .map_err(|error| Failure::Store(names::KEYS, error))?;
    entry.map(|entry| SigningKey::from_json(&entry.value)).transpose().map_err(Failure::from)
}
