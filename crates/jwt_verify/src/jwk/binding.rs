//! The issuer that a key is bound to.
//!
//! Microsoft Entra ID signs for every tenant with one set of keys. In that set each key has a member
//! `issuer`, which no RFC defines: the `iss` of the tokens that the key may sign. It is either a
//! tenant's, or a template in which `{tenantid}` stands for the token's `tid` (Microsoft identity
//! platform, Access tokens, "Validate the issuer").

use super::{KeyError, optional_string};
use crate::json::Object;

/// The place of a tenant in a template.
const TENANT: &str = "{tenantid}";

/// Beginning of a tenant's name in each of Microsoft's clouds: in tokens of version 2.0, and in
/// those of version 1.0. Keys state the former, and sign both (Microsoft.IdentityModel.Validators,
/// AadTokenValidationParametersExtension).
const CLOUDS: [(&str, &str); 3] = [
    (
        "https://login.microsoftonline.com/",
        "https://sts.windows.net/",
    ),
    (
        "https://login.microsoftonline.us/",
        "https://sts.windows.net/",
    ),
    (
        "https://login.partner.microsoftonline.cn/",
        "https://sts.chinacloudapi.cn/",
    ),
];

/// The member `issuer` of a JWK.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Binding(Box<str>);

impl Binding {
    pub(super) fn read(jwk: &Object<'_>) -> Result<Option<Self>, KeyError> {
        let issuer = optional_string(jwk, "issuer")?;
        Ok(issuer.map(|issuer| Self(issuer.into())))
    }

    /// As the JWK has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key may sign tokens with this `iss` and this `tid`.
    pub(crate) fn admits(&self, iss: &str, tid: Option<&str>) -> bool {
        if is_filled_in(&[&self.0], tid, iss) {
            return true;
        }
        CLOUDS.iter().any(|(version_2, version_1)| {
            let tenant = self.0.strip_prefix(version_2);
            tenant
                .and_then(|rest| rest.strip_suffix("/v2.0"))
                .is_some_and(|tenant| is_filled_in(&[version_1, tenant, "/"], tid, iss))
        })
    }
}

/// Whether `text` is the template with `tid` in each place of a tenant. Compared piece by piece: a
/// filled-in template could be thousands of times as long as the token.
fn is_filled_in(template: &[&str], tid: Option<&str>, text: &str) -> bool {
    let mut rest = Some(text);
    for part in template {
        for (index, piece) in part.split(TENANT).enumerate() {
            if index > 0 {
                rest = rest.and_then(|rest| rest.strip_prefix(tid?));
            }
            rest = rest.and_then(|rest| rest.strip_prefix(piece));
        }
    }
    rest == Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

    fn admits(bound: &str, iss: &str, tid: Option<&str>) -> bool {
        Binding(bound.into()).admits(iss, tid)
    }

    #[test]
    fn a_template_takes_the_tenant_of_the_token() {
        let iss = "https://login.microsoftonline.com/t1/v2.0";
        assert!(admits(TEMPLATE, iss, Some("t1")));
        for tid in [
            None,
            Some(""),
            Some("t2"),
            Some("t"),
            Some("t1/"),
            Some(TENANT),
            Some("*"),
        ] {
            assert!(!admits(TEMPLATE, iss, tid), "{tid:?}");
        }
        // Filled in once: a tenant is no template.
        assert!(!admits(TEMPLATE, TEMPLATE, Some("t1")));
        assert!(admits("{tenantid}/{tenantid}", "a/a", Some("a")));
        assert!(!admits("{tenantid}/{tenantid}", "a/b", Some("a")));
        assert!(!admits("{tenantid}", "", None));
        assert!(!admits("{TenantId}", "t1", Some("t1")));
    }

    #[test]
    fn a_name_without_template_is_that_name() {
        for tid in [None, Some("t1"), Some("t2")] {
            assert!(admits("https://i.example", "https://i.example", tid));
            for other in [
                "https://i.example/",
                "https://I.example",
                "",
                "https://i.exampl",
            ] {
                assert!(!admits("https://i.example", other, tid), "{other}");
            }
        }
        assert!(admits("", "", None));
        assert!(!admits("", "https://i.example", None));
    }

    #[test]
    fn version_1_names_the_same_tenant() {
        let of = |bound, iss| admits(bound, iss, Some("t1"));
        assert!(of(TEMPLATE, "https://sts.windows.net/t1/"));
        assert!(!of(TEMPLATE, "https://sts.windows.net/t2/"));
        assert!(!of(TEMPLATE, "https://sts.windows.net/t1"));
        assert!(!of(TEMPLATE, "https://sts.chinacloudapi.cn/t1/"));
        let china = "https://login.partner.microsoftonline.cn/{tenantid}/v2.0";
        assert!(of(china, "https://sts.chinacloudapi.cn/t1/"));
        let one = "https://login.microsoftonline.com/t2/v2.0";
        assert!(of(one, "https://sts.windows.net/t2/"));
        assert!(!of(one, "https://sts.windows.net/t1/"));
        assert!(!of(
            "https://login.example/{tenantid}/v2.0",
            "https://sts.windows.net/t1/"
        ));
    }

    #[test]
    fn the_work_is_bounded_by_the_texts() {
        let template = TENANT.repeat(6_000);
        let tid = "x".repeat(60_000);
        assert!(!admits(&template, &tid, Some(&tid)));
    }
}
