//! Network destinations that a component may reach, in the syntax of Spin's
//! `allowed_outbound_hosts`: `scheme://host:port`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::scope::{Scope, scope};

/// The destinations that one component may reach; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AllowedHosts(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// `None`: any.
    scheme: Option<String>,
    host: Host,
    /// Both ends included.
    ports: (u16, u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// This application itself, under the names that Spin gives it: `self` and `self.alt`.
    Own,
    /// With the dot: `.example.com`.
    Below(String),
    Network(IpNet),
    Name(String),
}

impl AllowedHosts {
    /// # Errors
    /// Says which entry is wrong and why.
    pub(crate) fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        entries.into_iter().map(Rule::parse).collect::<Result<_, _>>().map(Self)
    }

    /// True if a connection may be made. Without a port, that of the scheme counts. Schemes and
    /// host names are compared without regard to case; `host` may be a bracketed IPv6 address.
    pub(crate) fn allows(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        self.matching(scheme, port).any(|rule| rule.host.is(host))
    }
}

/// How one is connected to a destination.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// The scheme of its URL; `tcp` or `udp` for sockets.
    pub(crate) scheme: &'a str,
    /// A name or an address, perhaps in brackets.
    pub(crate) host: &'a str,
    /// The port; `None`: that of the scheme.
    pub(crate) port: Option<u16>,
}

impl AllowedHosts {
    /// True if a connection to `address`, which is what the destination's host resolved to, may be
    /// made. Whoever controls a name's records must not reach what only this machine reaches, so
    ///
    /// - a public address is reached by every entry that allows the destination;
    /// - any other by an entry with that address, or a network that holds it;
    /// - one of a private network also by an entry with exactly this name;
    /// - one of this machine also by an entry with the name `localhost`, or a name below it.
    ///
    /// Wildcards name nothing, nor does the network of all addresses.
    pub(crate) fn allows_address(&self, to: Destination<'_>, address: IpAddr) -> bool {
        if !self.allows(to.scheme, to.host, to.port) {
            return false;
        }
        let address = address.to_canonical();
        let scope = scope(address);
        scope == Scope::Public
            || self.matching(to.scheme, to.port).any(|rule| match &rule.host {
                Host::Network(network) => network.prefix_len() > 0 && network.contains(&address),
                Host::Name(name) => {
                    let named = name.eq_ignore_ascii_case(to.host);
                    named && (scope == Scope::Private || name == "localhost" || name.ends_with(".localhost"))
                }
                Host::Any | Host::Own | Host::Below(_) => false,
            })
    }

    /// True if a name may be looked up: an entry could allow a connection to it.
    pub(crate) fn allows_lookup(&self, name: &str) -> bool {
        self.0.iter().any(|rule| rule.host.is(name) && rule.host != Host::Own)
    }

    /// True if the application itself may be called by its routes: `self`.
    pub(crate) fn allows_own(&self) -> bool {
        self.http().any(|rule| matches!(rule.host, Host::Any | Host::Own))
    }

    /// True if the component with this host name, such as `auth.spin.internal`, may be called. The
    /// scheme and the port do not matter where the name is given.
    pub(crate) fn allows_component(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        self.http().any(|rule| matches!(rule.host, Host::Name(_) | Host::Below(_)) && rule.host.is(host))
            || self.allows(scheme, host, port)
    }

    /// True if an entry has this scheme, not by a wildcard.
    pub(crate) fn names_scheme(&self, scheme: &str) -> bool {
        self.0.iter().any(|rule| rule.scheme.as_deref() == Some(scheme))
    }

    /// The entries for URLs of HTTP.
    fn http(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.scheme("http") || rule.scheme("https"))
    }

    /// The entries for a scheme and a port, whatever their hosts.
    fn matching(&self, scheme: &str, port: Option<u16>) -> impl Iterator<Item = &Rule> {
        let port = port.or_else(|| default_port(&scheme.to_ascii_lowercase()));
        self.0.iter().filter(move |rule| rule.scheme(scheme) && port.is_some_and(|port| rule.has_port(port)))
    }
}

/// Whether an entry without variables is well formed.
pub(super) fn check(entry: &str) -> Result<(), String> {
    Rule::parse(entry).map(drop)
}

/// The component that an entry names by its host, `<component>.spin.internal`.
pub(super) fn component(entry: &str) -> Option<&str> {
    let (_, rest) = entry.trim().split_once("://")?;
    let host = rest.split([':', '/']).next()?;
    host.strip_suffix(".spin.internal").filter(|id| !id.contains(['*', '.']))
}

/// What the deprecated `allowed_http_hosts` says, in the syntax of its successor.
pub(super) fn from_http_host(host: &str) -> Vec<String> {
    if host == "insecure:allow-all" {
        return vec!["http://*:*".to_owned(), "https://*:*".to_owned(), "http://self".to_owned()];
    }
    // It may have been written as a URL; both schemes are meant all the same.
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    vec![format!("http://{host}"), format!("https://{host}")]
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, String> {
        let entry = entry.trim();
        let Some((scheme, rest)) = entry.split_once("://") else {
            return Err("begin with a scheme: `https://example.com`, or `*://*:*` for everything".to_owned());
        };
        let scheme = match scheme {
            "*" => None,
            _ if !scheme.is_empty()
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) =>
            {
                Some(scheme.to_ascii_lowercase())
            }
            _ => return Err(format!("`{scheme}` is not a scheme: letters such as `https`, or `*`")),
        };
        let (host, port) = split_port(rest)?;
        let host = Host::parse(host)?;
        let ports = match (port, &scheme) {
            (Some(port), _) => parse_ports(port)?,
            (None, Some(scheme)) => match default_port(scheme) {
                Some(port) => (port, port),
                None if host == Host::Own => (0, u16::MAX),
                None => return Err(format!("`{scheme}` has no usual port: add one, such as `:1234`, or `:*` for any")),
            },
            (None, None) if host == Host::Own => (0, u16::MAX),
            (None, None) => return Err("any scheme needs a port: add one, such as `:443`, or `:*` for any".to_owned()),
        };
        Ok(Self { scheme, host, ports })
    }

    fn has_port(&self, port: u16) -> bool {
        (self.ports.0..=self.ports.1).contains(&port)
    }

    fn scheme(&self, scheme: &str) -> bool {
        self.scheme.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(scheme))
    }
}

/// Parts `host:port/`; a colon inside brackets, or a slash of a network, is the host's.
fn split_port(rest: &str) -> Result<(&str, Option<&str>), String> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let after_brackets = rest.rfind(']').unwrap_or(0);
    let colon = rest.rfind(':').filter(|colon| *colon > after_brackets);
    let Some((host, port)) = colon.and_then(|colon| rest.split_at_checked(colon)) else { return Ok((rest, None)) };
    match port.strip_prefix(':') {
        Some("") | None => Err("the port is missing after `:`".to_owned()),
        Some(port) if port.contains('/') => Err("a destination has no path".to_owned()),
        port => Ok((host, port)),
    }
}

/// A port, any port, or Spin's half-open range `start..end`.
fn parse_ports(port: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| {
        text.parse::<u16>().map_err(|_| format!("`{port}` is not a port, a range such as `8000..8010`, or `*`"))
    };
    if port == "*" {
        return Ok((0, u16::MAX));
    }
    let Some((start, end)) = port.split_once("..") else {
        let port = number(port)?;
        return Ok((port, port));
    };
    let (start, end) = (number(start)?, number(end)?);
    match end.checked_sub(1) {
        Some(last) if start <= last => Ok((start, last)),
        _ => Err(format!("the range `{port}` is empty; its end does not belong to it")),
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self, String> {
        // The brackets of IPv6 hold the address alone: `[fd00::]/8`.
        let network = host.strip_prefix('[').and_then(|host| host.split_once("]/"));
        let network = network.map_or_else(|| host.to_owned(), |(address, length)| format!("{address}/{length}"));
        if let Ok(network) = network.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = unbracketed(host).parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        match host {
            "*" => return Ok(Self::Any),
            "self" | "self.alt" => return Ok(Self::Own),
            "" => return Err("the host is missing".to_owned()),
            _ => {}
        }
        if host.contains('/') {
            return Err("a destination has no path".to_owned());
        }
        let (below, name) = host.strip_prefix("*.").map_or((false, host), |name| (true, name));
        if name.contains('*') {
            return Err("a `*` stands for the whole host, or for its first part: `*.example.com`".to_owned());
        }
        if name.split('.').any(str::is_empty)
            || name.contains(|c: char| c.is_whitespace() || c.is_control() || "{}[]@?#:".contains(c))
        {
            return Err(format!("`{host}` is not a host"));
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Self::Below(format!(".{name}")) } else { Self::Name(name) })
    }

    fn is(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Own => host == "self" || host == "self.alt",
            Self::Below(suffix) => {
                let host = host.to_ascii_lowercase();
                host.len() > suffix.len() && host.ends_with(suffix.as_str())
            }
            Self::Network(network) => {
                unbracketed(host).parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }
            Self::Name(name) => name.eq_ignore_ascii_case(host),
        }
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "redis" => Some(6379),
        "mqtt" => Some(1883),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, scheme: &str, host: &str, port: Option<u16>) -> bool {
        AllowedHosts::parse([entry]).unwrap().allows(scheme, host, port)
    }

    #[test]
    fn a_name_is_that_host_at_that_port() {
        assert!(allows("https://example.com", "https", "example.com", None));
        assert!(allows("https://example.com/", "HTTPS", "Example.com", Some(443)));
        assert!(!allows("https://example.com", "http", "example.com", None));
        assert!(!allows("https://example.com", "https", "example.com", Some(8443)));
        assert!(!allows("https://example.com", "https", "a.example.com", None));
        assert!(allows("redis://cache:7000", "redis", "cache", Some(7000)));
    }

    #[test]
    fn wildcards_stand_for_schemes_hosts_subdomains_and_ports() {
        assert!(allows("*://localhost:*", "anything", "localhost", Some(1)));
        assert!(allows("https://*", "https", "example.com", None));
        assert!(!allows("https://*", "https", "example.com", Some(80)));
        assert!(allows("https://*.example.com", "https", "a.b.example.com", None));
        assert!(!allows("https://*.example.com", "https", "example.com", None));
        assert!(!allows("https://*.example.com", "https", "evilexample.com", None));
        assert!(allows("*://*:*", "mqtt", "::1", None));
    }

    #[test]
    fn ranges_of_ports_exclude_their_end() {
        assert!(allows("http://a:8000..8002", "http", "a", Some(8001)));
        assert!(!allows("http://a:8000..8002", "http", "a", Some(8002)));
    }

    #[test]
    fn networks_hold_addresses_not_names() {
        assert!(allows("http://10.0.0.0/8:80", "http", "10.1.2.3", None));
        assert!(allows("http://10.0.0.0/8", "http", "10.1.2.3", None));
        assert!(!allows("http://10.0.0.0/8:80", "http", "11.1.2.3", None));
        assert!(!allows("http://10.0.0.0/8:80", "http", "ten.example", None));
        assert!(allows("http://127.0.0.1:3000", "http", "127.0.0.1", Some(3000)));
        assert!(allows("http://[::1]:3000", "http", "[::1]", Some(3000)));
        assert!(allows("http://[::1]", "http", "::1", None));
    }

    #[test]
    fn the_application_itself_has_names_of_its_own() {
        assert!(allows("http://self", "http", "self", None));
        assert!(allows("http://self", "http", "self.alt", None));
        assert!(allows("*://self", "https", "self.alt", None));
        assert!(!allows("http://self", "https", "self.alt", None));
        assert!(!allows("http://self", "http", "example.com", None));
        assert!(!allows("http://a", "http", "self", None));
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert!(!AllowedHosts::default().allows("https", "example.com", None));
    }

    #[test]
    fn a_scheme_without_a_usual_port_needs_one() {
        assert!(!allows("*://a:*", "gopher", "a", None));
        assert!(check("gopher://a").is_err());
    }

    /// Whether `host` may be reached at port 80 when it resolves to `address`.
    fn reaches(entry: &str, host: &str, address: &str) -> bool {
        let to = Destination { scheme: "http", host, port: None };
        AllowedHosts::parse([entry]).unwrap().allows_address(to, address.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_reached_by_every_entry() {
        for entry in ["http://a.example", "http://*", "*://*:*", "http://*.example"] {
            assert!(reaches(entry, "a.example", "1.1.1.1"), "{entry}");
            assert!(
                !reaches(entry, "b.invalid", "1.1.1.1") || entry.contains("//*") && !entry.contains("*."),
                "{entry}"
            );
        }
        assert!(reaches("http://1.0.0.0/8", "1.1.1.1", "1.1.1.1"));
    }

    #[test]
    fn wildcards_do_not_name_what_is_not_public() {
        for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1"] {
            for entry in ["http://*", "*://*:*", "http://*.example", "http://0.0.0.0/0", "http://[::]/0"] {
                for host in ["a.example", "localhost", address] {
                    assert!(!reaches(entry, host, address), "{entry} {host} {address}");
                }
            }
        }
    }

    #[test]
    fn a_name_is_for_private_addresses_and_localhost_for_this_machine() {
        assert!(reaches("http://db.corp", "db.corp", "10.0.0.1"));
        assert!(reaches("http://db.corp", "DB.corp", "fd00::1"));
        assert!(!reaches("http://db.corp", "db.corp", "127.0.0.1"));
        assert!(!reaches("http://db.corp", "db.corp", "169.254.169.254"));
        assert!(!reaches("http://db.corp", "other.corp", "10.0.0.1"));
        assert!(reaches("http://localhost", "localhost", "127.0.0.1"));
        assert!(reaches("http://localhost", "localhost", "::1"));
        assert!(reaches("http://app.localhost", "app.localhost", "127.0.0.1"));
    }

    #[test]
    fn addresses_and_networks_name_what_they_hold() {
        assert!(reaches("http://127.0.0.1", "127.0.0.1", "127.0.0.1"));
        assert!(reaches("http://[::1]", "[::1]", "::1"));
        assert!(reaches("http://127.0.0.0/8", "127.0.0.9", "127.0.0.9"));
        assert!(reaches("http://169.254.169.254", "169.254.169.254", "169.254.169.254"));
        assert!(!reaches("http://127.0.0.1:81", "127.0.0.1", "127.0.0.1"));
        let both = AllowedHosts::parse(["http://db.corp", "http://127.0.0.1"]).unwrap();
        let to = Destination { scheme: "http", host: "db.corp", port: None };
        assert!(both.allows_address(to, [127, 0, 0, 1].into()), "the name and the address are granted");
        assert!(!both.allows_address(to, [127, 0, 0, 2].into()));
    }

    #[test]
    fn components_and_the_application_are_called_by_their_names() {
        let hosts = |entry| AllowedHosts::parse([entry]).unwrap();
        for entry in ["http://auth.spin.internal", "https://auth.spin.internal", "*://*.spin.internal:*"] {
            assert!(hosts(entry).allows_component("http", "auth.spin.internal", None), "{entry}");
        }
        assert!(hosts("http://*").allows_component("http", "auth.spin.internal", None));
        for entry in ["http://other.spin.internal", "redis://auth.spin.internal", "http://self", "https://*"] {
            assert!(!hosts(entry).allows_component("http", "auth.spin.internal", None), "{entry}");
        }
        for entry in ["http://self", "https://self.alt", "*://self", "http://*", "*://*:*"] {
            assert!(hosts(entry).allows_own(), "{entry}");
        }
        assert!(!hosts("http://example.com").allows_own() && !hosts("redis://self:1").allows_own());
    }

    #[test]
    fn only_names_of_entries_are_looked_up() {
        let hosts =
            AllowedHosts::parse(["https://a.example", "*://*.b.example:1", "http://self", "*://10.0.0.0/8:1"]).unwrap();
        assert!(
            hosts.allows_lookup("a.example") && hosts.allows_lookup("x.b.example") && hosts.allows_lookup("10.1.1.1")
        );
        assert!(!hosts.allows_lookup("secret.evil.example") && !hosts.allows_lookup("self"));
        assert!(AllowedHosts::parse(["*://*:*"]).unwrap().allows_lookup("any.example"));
    }

    #[test]
    fn malformed_entries_say_why() {
        for bad in [
            "",
            "*",
            "example.com",
            "https://",
            "https://a/path",
            "https://a:80/path",
            "https://a:",
            "https://a:x",
            "https://a:99999",
            "https://a:5..5",
            "https://a.*.b",
            "https://*a",
            "ht tp://a",
            "*://a",
            "https://a b",
            "insecure:allow-all",
            "https://u@a",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
