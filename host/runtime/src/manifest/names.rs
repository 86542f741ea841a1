//! The identifiers that Spin's manifest allows, so that what is accepted here is accepted there.

/// Words of letters and digits, joined by `-`: ids of components.
pub(super) fn kebab(name: &str) -> Result<(), String> {
    words(name, '-')
}

/// Words of lower-case letters and digits, joined by `_`: names of variables.
pub(super) fn lower_snake(name: &str) -> Result<(), String> {
    if name.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("it must be in lower case".to_owned());
    }
    words(name, '_')
}

/// One or the other: labels of stores.
pub(super) fn label(name: &str) -> Result<(), String> {
    words(name, '-').or_else(|_| words(name, '_')).map_err(|_| {
        "it must be words that begin with a letter and are joined by either `-` or `_`, each word in one case"
            .to_owned()
    })
}

fn words(name: &str, joint: char) -> Result<(), String> {
    for (index, word) in name.split(joint).enumerate() {
        let Some(first) = word.chars().next() else {
            return Err(format!("it must be words joined by one `{joint}`, none of them empty"));
        };
        if !(first.is_ascii_alphabetic() || (index > 0 && first.is_ascii_digit())) {
            return Err("it must begin with a letter".to_owned());
        }
        if let Some(other) = word.chars().find(|c| !c.is_ascii_alphanumeric()) {
            return Err(format!("it has `{other}`, but only letters, digits and `{joint}` are allowed"));
        }
        let upper = word.chars().any(|c| c.is_ascii_uppercase());
        if upper && word.chars().any(|c| c.is_ascii_lowercase()) {
            return Err(format!("its word `{word}` mixes upper and lower case"));
        }
    }
    Ok(())
}

/// The name of an import: `namespace:package/interface@version`, interface and version optional,
/// or a plain kebab-case name.
pub(super) fn import(name: &str) -> Result<(), String> {
    let (path, version) = name.split_once('@').map_or((name, None), |(path, version)| (path, Some(version)));
    if let Some(version) = version {
        semver::Version::parse(version).map_err(|error| format!("`{version}` is not a version: {error}"))?;
    }
    let (package, interface) = path.split_once('/').map_or((path, None), |(package, rest)| (package, Some(rest)));
    match package.split_once(':') {
        Some((namespace, package)) => {
            [Some(namespace), Some(package), interface].into_iter().flatten().try_for_each(kebab)
        }
        None if interface.is_none() && version.is_none() => kebab(package),
        None => Err("it must be `namespace:package/interface@version`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_as_strict_as_spins() {
        for good in ["a", "hello-world", "a-1", "HTTP-server", "x2"] {
            assert_eq!(kebab(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "1a", "a_b", "aB", "é", "a.b", "a b"] {
            assert!(kebab(bad).is_err(), "{bad}");
        }
        assert_eq!(lower_snake("admin_email"), Ok(()));
        assert!(lower_snake("ADMIN").is_err() && lower_snake("a-b").is_err());
        assert!(label("a-b").is_ok() && label("a_b").is_ok() && label("a-b_c").is_err());
    }

    #[test]
    fn imports_are_packages_interfaces_or_plain_names() {
        for good in ["tessera:auth/tokens", "tessera:auth/tokens@0.1.0", "a:b", "a:b@1.0.0", "plain-name"] {
            assert_eq!(import(good), Ok(()), "{good}");
        }
        for bad in ["", "a:b/", "a:b@x", "a/b", "a@1.0.0", "a:b/c/d"] {
            assert!(import(bad).is_err(), "{bad}");
        }
    }
}
