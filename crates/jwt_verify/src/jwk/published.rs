//! Keys whose private half is published: anyone can sign with them.
//!
//! Documents and tools print such keys as examples, and people paste them. RFC 9500 exists so that
//! software can recognise test keys by their public half. Here a key is recognised by its
//! thumbprint.

/// The JWK Thumbprint (RFC 7638, with SHA-256) of each key, and who publishes its private half: an
/// RFC, or the token debugger at jwt.io, which offers the key by default or once did.
///
/// Keys that admission refuses anyway, such as shorter ones, are left out. The keys themselves are in
/// `tests/vectors/published_keys.json`.
const PUBLISHED: [(&str, &str); 46] = [
    (
        "y_x3gCJnL6oKGBBIXScabduwxTVy2Wd2bzRVEUbdUzc",
        "RFC 7515 appendix A.1",
    ),
    (
        "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8",
        "RFC 7515 appendix A.2",
    ),
    (
        "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
        "RFC 7515 appendix A.3",
    ),
    (
        "u5YUSjQ2-2chBi51NSk3t3g7IM4o2KYcnPqPtCNGd3U",
        "RFC 7515 appendix A.4",
    ),
    (
        "xtIsOV1FqKH77AI_A3jdTg5QfdabzqI-LNpYTPi0IgI",
        "RFC 7516 appendix A.1",
    ),
    (
        "_K0fXS8wlsT7Tn3vvZrs9qdKUIqi5AxQ5EVk41xi_BM",
        "RFC 7516 appendix A.2",
    ),
    (
        "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
        "RFC 7517 appendix A.2",
    ),
    (
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        "RFC 7517 appendix A.2",
    ),
    (
        "D8R4-FeTJfzuDUy8bZ0c4hcwpul-Q11gCPs3mw6-R9Q",
        "RFC 7517 appendix C.1",
    ),
    (
        "Vy57XrArUrW0NbpI12tEzDHABxMwrTh6HHXRenSpnCo",
        "RFC 7518 appendix C",
    ),
    (
        "_GK0r6GCoJt9zcssg9lay4obIxgCq05ntiRymRHADSU",
        "RFC 7518 appendix C",
    ),
    (
        "dHri3SADZkrush5HU_50AoRhcKFryN-PI6jPBtPL55M",
        "RFC 7520 section 3.2",
    ),
    (
        "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
        "RFC 7520 section 3.4",
    ),
    (
        "RtoRur_1Dir5M4wuOfqNkDYOf9O_4RJ-aHkTA75RLA8",
        "RFC 7520 section 3.5",
    ),
    (
        "VDMp1ZgGGv1OKgOeDc1EUKHXNQzMdLkCnxPETHdA4v0",
        "RFC 7520 section 3.6",
    ),
    (
        "h_jutvC-jg3Nwueq8LmdSybXykVsBwk4_5u5Y9JiS7E",
        "RFC 7520 section 5.1",
    ),
    (
        "Rt-IyDEhXohvTl_ozKQ9YGflXGuDb3uu3QmqN2LoMwM",
        "RFC 7520 section 5.2",
    ),
    (
        "YlKlB7M2wnS0cPn_V7OW-FuDLuWdJ9z4OvPHmhGDfeE",
        "RFC 7520 section 5.4",
    ),
    (
        "HsSFalww3yP-dO-lWGYgFcyV5H22oScIFc4V2Y6GOto",
        "RFC 7520 section 5.5",
    ),
    (
        "tqsISrG_pUi4IXRd2S_IYFnja0Xy7cpZHwbDd3XIFbM",
        "RFC 7520 section 5.7",
    ),
    (
        "FVV5umTuau890q59V-4Ga_R6qWb7ON_ivJc4EjvCwTM",
        "RFC 8032 section 7.1",
    ),
    (
        "FtIu-VbGrfe_KB6CH7GNwODB72MNxj_ml11dEvO-7kk",
        "RFC 8032 section 7.1",
    ),
    (
        "iiDHHfFVNG6ICMUTsicgrWf1igtFYZEK73xlobt1ah4",
        "RFC 8032 section 7.1",
    ),
    (
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "RFC 8037 appendix A.1",
    ),
    (
        "BHj8s0GPnMEQtkaULIM-PLgEhLBbuGUQ1vMxmBWZzEo",
        "RFC 9421 appendix B.1.1",
    ),
    (
        "oD0HwocPBSfpNy5W3bpJeyFGY_IQ_YpqxSjQ3Yd-CLA",
        "RFC 9421 appendix B.1.2",
    ),
    (
        "ydQXMtvbsOsZyFir-Y7A8t7fKEM1gbKPvyFkdpu4fvI",
        "RFC 9421 appendix B.1.3",
    ),
    (
        "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U",
        "RFC 9421 appendix B.1.4",
    ),
    (
        "CB3RFzX-1pAtHPl7fOKnQgQV1gnrFFXGXoObwmcm4rY",
        "RFC 9421 appendix B.1.5",
    ),
    (
        "Fa5JHFzFB8yHv0Dk3rGTgtCQPXPr3q8midyfylf8CUU",
        "RFC 9500 section 2.1",
    ),
    (
        "u88se-xodYvJqpVtfxKIhE6bv2S6Z9hy1ikqIcPciAE",
        "RFC 9500 section 2.1",
    ),
    (
        "LIstkoCvByn4jk8oZPvigQkzTzO9UwnGnE-VMlkZvYQ",
        "RFC 9500 section 2.3",
    ),
    (
        "TLOWIUBG7ALE2U13WMeEAErmpD48gp8MllKbX_zBARE",
        "RFC 9500 section 2.3",
    ),
    (
        "uG5zwmkbOsp4CWXAXpcCwS_BBebz0EP871Y1aRTdY9E",
        "RFC 9500 section 2.3",
    ),
    (
        "T4xl70S7MT6Zeq6r9V9fPJGVn76wfnXJ21-gyo0Gu6o",
        "RFC 9964 appendix A",
    ),
    (
        "Suiu29qbfuaBaR4Ats-c6XQBePB_OpAxAwcTR_0KXVM",
        "RFC 9964 appendix A",
    ),
    (
        "tRn1JNIkgMsABVQBlXeDHxAIcclh-2IX0UdDEzPt5XU",
        "RFC 9964 appendix A",
    ),
    ("19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8", "jwt.io"),
    ("iTqXXI0zbAnJCKDaobfhkM1f-6rMSpTfyZMRp_2tKI8", "jwt.io"),
    ("xZDfZpry4P9vZPZyG2fNBRj-7Lz5omVdm7tHoCgSNfY", "jwt.io"),
    ("QBeWNRsYJ8Gd0ovgTO17OrzkRbfxu_hA8blamxD_Lf8", "jwt.io"),
    ("oGDmHqCJ7yzMkWEkrlZVHkvrHIyQwtlDmeq5ForUHeY", "jwt.io"),
    ("zFHVsM9dc4OlHIwvEnVqfKzRj1ujqYGsZnXAcgn_CqI", "jwt.io"),
    ("3Sh8jwxtGAUg1j6_4BIuuT-0fsyXeym9VQpxNRGTJFs", "jwt.io"),
    ("LXkAyqcFEoI5pkMzfWjsAWbChzHfxtqD4Te31pAwA1s", "jwt.io"),
    ("Ms_j2vzAFNOrwb94le4wNiqMXglp4UyBvhTvbdY7a3g", "jwt.io"),
];

/// The publisher of the private half of the key with this thumbprint, if one is known.
pub(super) fn source(thumbprint: &str) -> Option<&'static str> {
    PUBLISHED
        .iter()
        .find(|(published, _)| *published == thumbprint)
        .map(|&(_, source)| source)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::PUBLISHED;
    use crate::algorithm::{Algorithm, AlgorithmSet};
    use crate::jwk::{Key, KeyError};

    #[derive(Deserialize)]
    struct Published<'a> {
        source: String,
        #[serde(borrow)]
        jwk: &'a RawValue,
    }

    fn keys() -> Vec<Published<'static>> {
        serde_json::from_str(include_str!("../../tests/vectors/published_keys.json")).unwrap()
    }

    /// The build on RustCrypto refuses each key of ML-DSA for another reason.
    fn is_in_this_build(key: &Published) -> bool {
        cfg!(feature = "aws_lc_rs") || !key.jwk.get().contains("ML-DSA")
    }

    #[test]
    fn each_thumbprint_is_its_keys() {
        let keys = keys();
        assert_eq!(keys.len(), PUBLISHED.len());
        let keys = keys.iter().zip(PUBLISHED);
        for (key, (thumbprint, source)) in keys.filter(|(key, _)| is_in_this_build(key)) {
            // Only the table keeps the key out: without it the key would be trusted.
            let admitted = Key::admit_even_published(
                &crate::jwk::parse_jwk(key.jwk.get()).unwrap(),
                None,
                AlgorithmSet::of(&Algorithm::ALL),
            );
            assert_eq!(admitted.unwrap().thumbprint(), thumbprint, "{source}");
            assert_eq!(key.source, source);
        }
    }

    #[test]
    fn no_published_key_is_admitted() {
        for key in keys().into_iter().filter(is_in_this_build) {
            let refused = Key::from_jwk(key.jwk.get(), AlgorithmSet::of(&Algorithm::ALL));
            let error = refused.unwrap_err();
            assert!(
                matches!(error, KeyError::Published { source } if source == key.source),
                "{}: {error}",
                key.source
            );
        }
    }
}
