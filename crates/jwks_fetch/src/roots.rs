//! The certificates that a server's certificate is checked against.

use std::fs::File;
use std::io::Read;

use jwks_rules::limits::MAX_CA_FILE_BYTES;
use jwks_rules::wire::{Failure, FailureKind, Roots};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use shared_types::plain;
use ureq::tls::{Certificate, RootCerts};

/// Loads the certificates of `ca_file`; if that is empty, those of the system; if it has none, the
/// bundled ones.
///
/// The system's certificates are found as OpenSSL finds them, also by `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` in the server's environment. One that cannot be read is left out.
///
/// # Errors
/// `ca_file` cannot be used.
pub(crate) fn load(ca_file: &str) -> Result<(Roots, RootCerts), Failure> {
    if !ca_file.is_empty() {
        let certificates = read_file(ca_file).map_err(|reason| {
            let message = format!("could not use the file of pg_auth_jwt.fetch_ca_file: {reason}");
            Failure::new(FailureKind::CaFile, message)
        })?;
        return Ok((Roots::File, specific(&certificates)));
    }
    let system = rustls_native_certs::load_native_certs().certs;
    if system.is_empty() {
        return Ok((Roots::Bundled, RootCerts::WebPki));
    }
    Ok((Roots::System, specific(&system)))
}

fn specific(certificates: &[CertificateDer<'_>]) -> RootCerts {
    let certificates = certificates.iter();
    let certificates: Vec<_> = certificates
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    RootCerts::new_with_certs(&certificates)
}

/// Every certificate of a PEM file. One that cannot be used is an error, because it would be
/// missing silently.
fn read_file(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut text = vec![];
    File::open(path)
        .and_then(|file| {
            file.take(MAX_CA_FILE_BYTES.saturating_add(1))
                .read_to_end(&mut text)
        })
        .map_err(|error| plain(&error.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_CA_FILE_BYTES) {
        return Err(format!("it is longer than {MAX_CA_FILE_BYTES} bytes"));
    }
    let mut certificates = vec![];
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let number = certificates.len().saturating_add(1);
        let unusable = |reason: String| {
            let reason = plain(&reason);
            format!("certificate {number} in it is not usable: {reason}")
        };
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        let added = store.add(certificate.clone());
        added.map_err(|error| unusable(error.to_string()))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err("it has no certificate in PEM form".to_owned());
    }
    Ok(certificates)
}
