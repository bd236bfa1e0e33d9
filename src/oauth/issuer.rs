//! The issuer that a line of pg_hba.conf names.

/// The part of a URL after which a discovery document's name stands (RFC 8615).
const WELL_KNOWN: &str = "/.well-known/";

/// Names of discovery documents (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).
const DOCUMENTS: [&str; 2] = ["openid-configuration", "oauth-authorization-server"];

/// The `iss` of tokens for the option `issuer` of a line, which is an issuer or the URL of its discovery document. The
/// document's name stands at the end, or between the host and the issuer's path (RFC 8414 §3.1). `None` for another
/// document.
pub fn of_line(issuer: &str) -> Option<String> {
    let Some((before, after)) = issuer.split_once(WELL_KNOWN) else {
        return Some(issuer.to_owned());
    };
    let document = DOCUMENTS.iter().find_map(|name| after.strip_prefix(name))?;
    if document.is_empty() {
        return Some(before.to_owned());
    }
    let (_, host) = before.split_once("://")?;
    let is_at_root = document.starts_with('/') && !host.contains('/');
    is_at_root.then(|| format!("{before}{document}"))
}

#[cfg(test)]
mod tests {
    use super::of_line;

    #[test]
    fn a_discovery_document_stands_for_its_issuer() {
        for (line, issuer) in [
            ("https://a.example", Some("https://a.example")),
            ("https://a.example/", Some("https://a.example/")),
            (
                "https://a.example/.well-known/openid-configuration",
                Some("https://a.example"),
            ),
            (
                "https://a.example/t/.well-known/openid-configuration",
                Some("https://a.example/t"),
            ),
            (
                "https://a.example//.well-known/openid-configuration",
                Some("https://a.example/"),
            ),
            (
                "https://a.example/.well-known/oauth-authorization-server",
                Some("https://a.example"),
            ),
            (
                "https://a.example/.well-known/oauth-authorization-server/t",
                Some("https://a.example/t"),
            ),
            (
                "https://a.example/.well-known/openid-configuration/t",
                Some("https://a.example/t"),
            ),
            (
                "https://a.example/x/.well-known/openid-configuration/t",
                None,
            ),
            ("https://a.example/.well-known/openid-configurations", None),
            ("https://a.example/.well-known/jwks.json", None),
            ("a.example/.well-known/openid-configuration/t", None),
        ] {
            assert_eq!(of_line(line).as_deref(), issuer, "{line}");
        }
    }
}
