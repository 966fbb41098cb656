//! A throw-away certificate authority and a certificate of it for this machine's loopback names.

use std::{
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::NamedTempFile;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// Names that the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What TLS needs on the server's side, and the authority's certificate for the clients'.
pub struct Tls {
    /// Speaks TLS on accepted connections.
    pub acceptor: TlsAcceptor,
    authority: NamedTempFile,
}

impl Tls {
    /// Makes an authority and a certificate, both good for this emulator alone.
    ///
    /// # Errors
    /// The authority's file cannot be written.
    pub fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "clarifai-annotations emulator, throw-away authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(io::Error::other)?);
        let authority = authority.map_err(io::Error::other)?;

        let key = KeyPair::generate().map_err(io::Error::other)?;
        let mut params = CertificateParams::new(NAMES.map(String::from)).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &authority).map_err(io::Error::other)?;

        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let mut file = tempfile::Builder::new().prefix("emulator-authority-").suffix(".pem").tempfile()?;
        file.write_all(authority.as_ref().pem().as_bytes())?;
        file.flush()?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority: file })
    }

    /// Removes the authority's file: nothing can be trusted by it any more.
    pub fn discard(&self) {
        // If it is gone already, so much the better.
        let _ = std::fs::remove_file(self.authority.path());
    }

    /// The file that holds the authority's certificate; it goes with the emulator.
    pub fn root_certificates_path(&self) -> &Path {
        self.authority.path()
    }
}
