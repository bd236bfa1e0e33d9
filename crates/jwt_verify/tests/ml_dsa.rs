//! ML-DSA (RFC 9964): Wycheproof's signatures, the RFC's examples, and the rules on its keys.

use jwt_verify::{Key, KeyError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::cases::{all_algorithms, read};
use crate::common::sign::{Signer, encode};

const SIGNERS: [(Signer, &str, usize); 3] = [
    (Signer::MlDsa44, "ML-DSA-44", 1_312),
    (Signer::MlDsa65, "ML-DSA-65", 1_952),
    (Signer::MlDsa87, "ML-DSA-87", 2_592),
];

fn admit(jwk: &Value) -> Result<Key, KeyError> {
    Key::from_jwk(&jwk.to_string(), all_algorithms())
}

#[derive(Deserialize)]
struct Example {
    jwk: Value,
    #[cfg(feature = "aws_lc_rs")]
    jws: String,
}

fn examples() -> Vec<Example> {
    let examples: Vec<Example> = serde_json::from_slice(&read("rfc9964.json")).unwrap();
    assert_eq!(examples.len(), 3);
    examples
}

#[cfg(feature = "aws_lc_rs")]
mod with_aws_lc {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jwt_verify::cross_check::{admit_even_published, verdicts};
    use jwt_verify::{Algorithm, Error, Keyring, Policy, verify};

    use super::*;
    use crate::common::report;
    use crate::common::sign::{ISSUER, NOW, keyring_with, lenient};

    #[derive(Deserialize)]
    struct Group {
        alg: String,
        r#pub: String,
        tests: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        msg: String,
        sig: String,
        expect: String,
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
        text.as_bytes()
            .chunks(2)
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    }

    #[test]
    fn both_stacks_agree_with_wycheproof_on_every_signature() {
        let groups: Vec<Group> = serde_json::from_slice(&read("wycheproof_mldsa.json.gz")).unwrap();
        let (mut accepted, mut refused, mut zero, mut of_wrong_length) = (0, 0, 0, 0);
        for group in &groups {
            let jwk = json!({"kty": "AKP", "alg": group.alg, "pub": group.r#pub});
            let alg = Algorithm::from_name(&group.alg).unwrap();
            let key = match admit_even_published(&jwk.to_string(), all_algorithms()) {
                Ok(key) => key,
                Err(KeyError::ZeroKey) => {
                    zero += group.tests.len();
                    continue;
                }
                Err(KeyError::Length { member: "pub", .. }) => {
                    of_wrong_length += group.tests.len();
                    continue;
                }
                Err(error) => panic!("{}: {error}", group.alg),
            };
            for vector in &group.tests {
                let expected = vector.expect == "accept";
                let answers = verdicts(&key, alg, &hex(&vector.msg), &hex(&vector.sig));
                assert_eq!(answers, (expected, expected), "{}", vector.name);
                match expected {
                    true => accepted += 1,
                    false => refused += 1,
                }
            }
        }
        report(&format!(
            "conformance: wycheproof_mldsa: {accepted} accepted, {refused} refused; keys not \
             admitted: {zero} of zero, {of_wrong_length} of another length"
        ));
        assert_eq!(
            (accepted, refused, zero, of_wrong_length),
            (117, 106, 42, 12)
        );
    }

    #[test]
    fn the_examples_of_the_rfc() {
        for Example { jwk, jws } in examples() {
            let public = json!({"kty": jwk["kty"], "alg": jwk["alg"], "pub": jwk["pub"]});
            // Anyone can sign with it, so only tests admit it.
            let error = admit(&public).unwrap_err();
            let source = "RFC 9964 appendix A";
            assert_eq!(error, KeyError::Published { source });
            let key = admit_even_published(&public.to_string(), all_algorithms()).unwrap();
            assert_eq!(key.thumbprint(), jwk["kid"]);

            let (signed, signature) = jws.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let alg = Algorithm::from_name(jwk["alg"].as_str().unwrap()).unwrap();
            let check = |message: &[u8], signature: &[u8]| verdicts(&key, alg, message, signature);
            assert_eq!(check(signed.as_bytes(), &signature), (true, true));
            assert_eq!(check(&signed.as_bytes()[1..], &signature), (false, false));
            for byte in [0, 31, 64, signature.len() / 2, signature.len() - 1] {
                let mut changed = signature.clone();
                changed[byte] ^= 1;
                assert_eq!(check(signed.as_bytes(), &changed), (false, false), "{byte}");
            }
            let longer = [&signature[..], &[0]].concat();
            for other in [&signature[1..], &longer, &[]] {
                assert_eq!(check(signed.as_bytes(), other), (false, false));
            }
        }
    }

    #[test]
    fn a_token_is_accepted_and_a_changed_one_is_not() {
        for (signer, alg, _) in SIGNERS {
            let keyring = keyring_with(signer, lenient());
            let header = json!({"alg": alg, "kid": "k"}).to_string();
            let payload = json!({"iss": ISSUER, "sub": "user"}).to_string();
            let token = signer.token(alg, &header, &payload);
            let verified = verify(&token, &keyring, NOW).unwrap();
            assert_eq!(verified.subject.as_deref(), Some("user"));

            let (signed, signature) = token.rsplit_once('.').unwrap();
            let other = signer.token(alg, &header, &payload.replace("user", "root"));
            let (other, _) = other.rsplit_once('.').unwrap();
            let forged = format!("{other}.{signature}");
            let error = verify(&forged, &keyring, NOW).unwrap_err();
            assert!(matches!(error, Error::Signature { .. }));
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let cut = format!("{signed}.{}", encode(&signature[1..]));
            let error = verify(&cut, &keyring, NOW).unwrap_err();
            assert!(matches!(error, Error::Signature { .. }));
        }
    }

    /// A signature with a context, or over a hash, is another algorithm's (RFC 9964 §5).
    #[test]
    fn a_signature_with_a_context_is_refused() {
        use ml_dsa::{ExpandedSigningKey, MlDsa65};

        let signer = ExpandedSigningKey::<MlDsa65>::from_seed(&[7; 32].into());
        let key = admit(&Signer::MlDsa65.jwk()).unwrap();
        let alg = Algorithm::from_name("ML-DSA-65").unwrap();
        let sign = |context: &[u8]| {
            let signature = signer.sign_deterministic(b"message", context).unwrap();
            verdicts(&key, alg, b"message", &signature.encode())
        };
        assert_eq!(sign(b""), (true, true));
        assert_eq!(sign(b"x"), (false, false));
    }

    #[test]
    fn a_key_takes_its_own_algorithm_alone() {
        for (signer, alg, bytes) in SIGNERS {
            let key = admit(&signer.jwk()).unwrap();
            assert_eq!(key.algorithms().to_string(), alg);
            assert_eq!(key.alg(), Some(alg));
            assert_eq!(key.key_type().name(), "AKP");
            // The alg is a part of the key, so the same bytes under another name are another key.
            for (other, other_alg, other_bytes) in SIGNERS {
                let renamed = admit(&signer.jwk_with_value(json!({"alg": other_alg})));
                match other == signer {
                    true => assert!(renamed.is_ok()),
                    false => assert_eq!(
                        renamed.unwrap_err(),
                        KeyError::Length {
                            member: "pub",
                            bytes,
                            expected: other_bytes
                        }
                    ),
                }
                let pinned =
                    Key::from_jwk_with_alg(&signer.jwk().to_string(), other_alg, all_algorithms());
                assert_eq!(pinned.is_ok(), other == signer, "{alg} {other_alg}");
            }
        }
        let error = admit(&Signer::MlDsa44.jwk_with_value(json!({"alg": "RS256"}))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "algorithm \"RS256\" is not for a key of type AKP"
        );
    }

    /// A token of one parameter set never counts by a key of another, whatever its header says.
    #[test]
    fn algorithms_are_not_mixed() {
        let mut keyring = Keyring::new();
        keyring.add_issuer(ISSUER, lenient());
        for (signer, alg, _) in SIGNERS {
            let jwk = signer.jwk().to_string();
            assert!(keyring.add_key(ISSUER, Some(alg), None, &jwk, None));
        }
        let payload = json!({"iss": ISSUER}).to_string();
        for (signer, alg, _) in SIGNERS {
            for (_, stated, _) in SIGNERS {
                for kid in [
                    Some("ML-DSA-44"),
                    Some("ML-DSA-65"),
                    Some("ML-DSA-87"),
                    None,
                ] {
                    let mut header = json!({"alg": stated});
                    if let Some(kid) = kid {
                        header["kid"] = kid.into();
                    }
                    let token = signer.token(alg, &header.to_string(), &payload);
                    let is_good = stated == alg && kid.is_none_or(|kid| kid == alg);
                    assert_eq!(verify(&token, &keyring, NOW).is_ok(), is_good);
                }
            }
        }
        // The default algorithms of an issuer have them, and a list without them has not.
        let only = Policy {
            algorithms: crate::common::sign::algorithms(&["ES256"]),
            ..lenient()
        };
        let token =
            Signer::MlDsa44.token("ML-DSA-44", r#"{"alg":"ML-DSA-44","kid":"k"}"#, &payload);
        assert!(verify(&token, &keyring_with(Signer::MlDsa44, lenient()), NOW).is_ok());
        let error = verify(&token, &keyring_with(Signer::MlDsa44, only), NOW).unwrap_err();
        assert!(matches!(error, Error::AlgorithmNotAllowed { .. }));
    }

    #[test]
    fn a_key_of_zero_is_refused() {
        for (_, alg, bytes) in SIGNERS {
            let key =
                |public: Vec<u8>| admit(&json!({"kty": "AKP", "alg": alg, "pub": encode(&public)}));
            let mut public = vec![0; bytes];
            assert_eq!(key(public.clone()).unwrap_err(), KeyError::ZeroKey);
            public[..32].fill(0xff);
            assert_eq!(key(public.clone()).unwrap_err(), KeyError::ZeroKey);
            for at in [32, bytes - 1] {
                let mut other = public.clone();
                other[at] = 1;
                assert!(key(other).is_ok(), "{at}");
            }
        }
    }
}

#[test]
fn a_private_key_is_called_that() {
    for Example { jwk, .. } in examples() {
        assert!(admit(&jwk).unwrap_err().is_private_key());
    }
}

#[test]
fn members_are_required_and_of_exact_length() {
    for (signer, alg, expected) in SIGNERS {
        for member in ["alg", "pub"] {
            let mut jwk = signer.jwk();
            jwk.as_object_mut().unwrap().remove(member);
            let error = admit(&jwk).unwrap_err();
            assert_eq!(error, KeyError::MissingMember { member });
            // An `alg` that is given beside the key does not take its place.
            let pinned = Key::from_jwk_with_alg(&jwk.to_string(), alg, all_algorithms());
            assert_eq!(pinned.unwrap_err(), KeyError::MissingMember { member });
        }
        for bytes in [0, 1, expected - 1, expected + 1, expected + 22] {
            let jwk = signer.jwk_with_value(json!({"pub": encode(&vec![7; bytes])}));
            assert_eq!(
                admit(&jwk).unwrap_err(),
                KeyError::Length {
                    member: "pub",
                    bytes,
                    expected
                }
            );
        }
        for (members, reason) in [
            (json!({"pub": 7}), "member \"pub\" is not a string"),
            (
                json!({"pub": "A="}),
                "member \"pub\" is not unpadded base64url",
            ),
            (json!({"alg": null}), "member \"alg\" is not a string"),
            (json!({"kty": "akp"}), "key type \"akp\" is not supported"),
        ] {
            let error = admit(&signer.jwk_with_value(members)).unwrap_err();
            assert_eq!(error.to_string(), reason);
        }
    }
    let error = admit(&json!({"kty": "AKP", "alg": "SLH-DSA-SHA2-128s", "pub": "AA"}));
    assert!(matches!(error, Err(KeyError::UnknownAlgorithm(_))));
}

/// The build on RustCrypto lacks ML-DSA, and says so.
#[cfg(not(feature = "aws_lc_rs"))]
#[test]
fn the_build_without_aws_lc_says_that_it_lacks_them() {
    for (signer, alg, _) in SIGNERS {
        assert_eq!(
            admit(&signer.jwk()).unwrap_err().to_string(),
            format!("algorithm \"{alg}\" is not in this build, which is without aws-lc-rs")
        );
    }
}
