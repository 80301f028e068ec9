//! Authorities that a host names besides those its machine trusts.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::model::Invalid;

/// Reads certificates from PEM; from nothing there are none.
pub(super) fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let wrong = || Invalid::field("root_certificates", "must be certificates in PEM, as in a file ca.pem");
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let mut roots = rustls::RootCertStore::empty();
    let are_certificates = found.iter().all(|found| roots.add(found.clone()).is_ok());
    let is_nothing = pem.trim_ascii().is_empty();
    if are_certificates && found.is_empty() == is_nothing { Ok(found) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused() {
        assert!(read(b"").unwrap().is_empty());
        let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in [&b"/etc/ssl/ca.pem"[..], b"-----BEGIN CERTIFICATE-----\nAA", empty] {
            let error = read(pem).unwrap_err();
            assert_eq!(error.errors()[0].field, "root_certificates");
        }
    }
}
