//! Reasons why TLS was not agreed on, as sentences with the cure, for errors that rustls names by a
//! variant of an enum, or not at all.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use webpki::Error as ChainError;

/// The reason. Errors about names, dates and purposes keep rustls's own text, which says enough.
pub(crate) fn of(error: &Error) -> String {
    known(error).map_or_else(|| error.to_string(), str::to_owned)
}

fn known(error: &Error) -> Option<&'static str> {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(AlertDescription::HandshakeFailure) => Some(
            "it refuses the handshake: it has no cipher suite of TLS 1.3, or of 1.2 with ECDHE, or asks \
             for a client certificate",
        ),
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            Some("it accepts neither TLS 1.2 nor 1.3")
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            Some("it has no certificate for this name (unrecognised_name)")
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(
            "what answers does not speak TLS: check the port, and whether it speaks plain HTTP",
        ),
        _ => None,
    }
}

fn of_certificate(error: &CertificateError) -> Option<&'static str> {
    match error {
        CertificateError::UnknownIssuer => Some(
            "its certificate is of no known authority (UnknownIssuer): set pg_auth_jwt.fetch_ca_file to \
             the authority's certificate, or have the server send the intermediate ones too",
        ),
        CertificateError::BadSignature => Some(
            "a signature of its certificate chain cannot be verified: the authority is another one of \
             the same name, or a key is an RSA key of less than 2048 bits",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        } => Some(match SHA1.contains(&signature_algorithm_id.as_slice()) {
            true => {
                "a certificate of its chain is signed with SHA-1: it needs one that is signed with SHA-256"
            }
            false => "a certificate of its chain is signed by an algorithm that is not supported",
        }),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            Some("a certificate of its chain has a key of a kind or length that is not supported")
        }
        CertificateError::Other(error) => match error.0.downcast_ref::<ChainError>()? {
            ChainError::CaUsedAsEndEntity => Some(
                "its certificate is one of a certificate authority: make one with basicConstraints \
                 CA:FALSE, or sign the server's by that authority",
            ),
            ChainError::UnsupportedCertVersion => Some(
                "a certificate of its chain is not of X.509 version 3: make one of that version, with the \
                 host in subjectAltName",
            ),
            _ => None,
        },
        _ => None,
    }
}

/// Identifiers of algorithms with SHA-1, as in a certificate: of RSA (RFC 3279 §2.2.1) and ECDSA
/// (§2.2.3), without and with the parameters' NULL.
const SHA1: [&[u8]; 3] = [
    &[6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5, 5, 0],
    &[6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5],
    &[6, 7, 42, 134, 72, 206, 61, 4, 1],
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[test]
    fn known_reasons_have_their_cure() {
        let chain = |error: ChainError| CertificateError::Other(OtherError(Arc::new(error)));
        let signed = |id: &[u8]| CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: id.to_vec(),
            supported_algorithms: vec![],
        };
        let cases: [(Error, &str); 9] = [
            (CertificateError::UnknownIssuer.into(), "fetch_ca_file"),
            (CertificateError::BadSignature.into(), "2048 bits"),
            (chain(ChainError::CaUsedAsEndEntity).into(), "CA:FALSE"),
            (
                chain(ChainError::UnsupportedCertVersion).into(),
                "version 3",
            ),
            (signed(SHA1[0]).into(), "SHA-1"),
            (signed(&[6, 3, 43, 101, 113]).into(), "not supported"),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "client certificate",
            ),
            (
                InvalidMessage::InvalidContentType.into(),
                "does not speak TLS",
            ),
            // Rustls's own text says enough.
            (CertificateError::Expired.into(), "Expired"),
        ];
        for (error, part) in cases {
            let reason = of(&error);
            assert!(reason.contains(part), "{reason}");
            assert!(!reason.contains("Error("), "{reason}");
        }
    }
}
