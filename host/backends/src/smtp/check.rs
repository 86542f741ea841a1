//! A look at a server: whether mail could be handed to it, and if not, why.

use std::time::Duration;

use lettre::AsyncTransport as _;
use lettre::transport::smtp::Error as SmtpError;

use super::{Config, Tls, transport};
use crate::trouble::Trouble;

/// Connects as for sending: greeting, EHLO, TLS, login. Sends nothing.
///
/// # Errors
/// What an operator has to mend.
pub async fn check(config: &Config, patience: Duration) -> Result<(), Trouble> {
    let config = Config { timeout: config.timeout.min(patience), ..config.clone() };
    let said = match talk(&config).await? {
        Talk::Good => return Ok(()),
        Talk::Bad => {
            let fix = match config.tls {
                Tls::None => "write `tls = \"starttls\"`: it may want encryption",
                _ => "look into the server's log",
            };
            return Err(Trouble::new("it greets, but refuses to go on", fix));
        }
        Talk::Silence => "it says nothing".to_owned(),
        Talk::Failed(error) => match refused(&config, &error) {
            Some(trouble) => return Err(trouble),
            None => said(&error),
        },
    };
    // What does not understand us may begin the other way. It is told no password.
    let other = if config.tls == Tls::Tls { Tls::None } else { Tls::Tls };
    let other = Config { tls: other, credentials: None, ..config.clone() };
    let answered = match talk(&other).await? {
        Talk::Good | Talk::Bad => true,
        Talk::Silence => false,
        Talk::Failed(error) => error.status().is_some() || Trouble::of_certificates(&error).is_some(),
    };
    Err(match (answered, config.tls) {
        (false, _) => Trouble::new(
            format!("no SMTP server answers ({said})"),
            "start the server, or mend `host` and `port` of [mail]",
        ),
        (true, Tls::Tls) => Trouble::new(
            "what listens there does not begin with TLS",
            "write `tls = \"starttls\"`, or name the port that the server has for TLS (often 465)",
        ),
        (true, _) => Trouble::new(
            "what listens there expects TLS from the first byte",
            "write `tls = \"tls\"`, or name the port that the server has for STARTTLS (often 587)",
        ),
    })
}

/// What is wrong, if the server understood us.
fn refused(config: &Config, error: &SmtpError) -> Option<Trouble> {
    if let Some(trouble) = Trouble::of_certificates(error) {
        return Some(trouble);
    }
    if let Some(code) = error.status().map(u16::from) {
        return Some(match code {
            530 | 534 | 535 | 538 => Trouble::new(
                format!("it does not accept the login ({code} {})", said(error)),
                "mend `username` and `password` of [mail]",
            ),
            _ => Trouble::new(format!("it answers {code} {}", said(error)), "look into the server's log"),
        });
    }
    let fix = match config.tls {
        Tls::StartTls => "name the port that the server has for STARTTLS (often 587), or mend `tls` of [mail]",
        Tls::None => "write `tls = \"starttls\"`: it may want encryption first",
        Tls::Tls => "mend `username` and `password` of [mail]",
    };
    error.is_client().then(|| Trouble::new(format!("it answers, but: {}", said(error)), fix))
}

/// What became of a conversation.
enum Talk {
    /// The server goes on after greeting, encryption and login.
    Good,
    /// It does not.
    Bad,
    /// Nothing was said in time.
    Silence,
    /// The server refused, or the network failed.
    Failed(SmtpError),
}

async fn talk(config: &Config) -> Result<Talk, Trouble> {
    let transport = transport(config).map_err(|error| Trouble::new(error.to_string(), "mend `ca_file` of [mail]"))?;
    // The transport's own limit is for connecting alone.
    let talked = tokio::time::timeout(config.timeout, transport.test_connection()).await;
    // A server that does not answer its farewell is good enough.
    _ = tokio::time::timeout(config.timeout, transport.shutdown()).await;
    Ok(match talked {
        Ok(Ok(true)) => Talk::Good,
        Ok(Ok(false)) => Talk::Bad,
        Ok(Err(error)) => Talk::Failed(error),
        Err(_) => Talk::Silence,
    })
}

/// What the innermost cause says.
fn said(error: &SmtpError) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let text = innermost.to_string();
    text.lines().next().unwrap_or_default().chars().filter(|character| !character.is_control()).take(200).collect()
}
