//! Whom does this side trust, and how does it prove itself? Certificates of the system, of folders in the manner of
//! `/etc/docker/certs.d`, and of single hosts.

use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem};

use crate::client::ClientConfig;
use crate::origin::Origin;

/// The trusted roots: those of `ca_file`, or the system's.
pub(crate) fn load_roots(ca_file: Option<&Path>) -> Result<Vec<Certificate<'static>>, String> {
    if let Some(path) = ca_file {
        return read_pem(path).map(|pem| pem.certificates);
    }
    let found = rustls_native_certs::load_native_certs();
    // A system without any certificates is an error of its own; one unreadable file among many is not.
    match (found.certs.is_empty(), found.errors.first()) {
        (true, Some(error)) => Err(format!("cannot load the system's certificates: {error}")),
        (true, None) => Err("the system has no trusted certificates".to_owned()),
        (false, _) => Ok(found.certs.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect()),
    }
}

/// What is there for one host.
pub(crate) struct HostCertificates {
    pub(crate) roots: Vec<Certificate<'static>>,
    pub(crate) client: Option<ClientCert>,
}

impl HostCertificates {
    /// Reads what is configured for the server, then the folders; a folder that is not there adds nothing.
    pub(crate) fn load(config: &ClientConfig, origin: &Origin) -> Result<HostCertificates, String> {
        let mut found = HostCertificates { roots: Vec::new(), client: None };
        let names = [origin.to_string(), format!("{}:{}", origin.host(), origin.port())];
        for own in config.host_tls.iter().filter(|own| names.contains(&own.host)) {
            if let Some(path) = &own.ca_file {
                found.roots.extend(read_pem(path)?.certificates);
            }
            if let Some((certificate, key)) = &own.client {
                found.client = Some(read_client_cert(certificate, key)?);
            }
        }
        for folder in &config.certs_dirs {
            found.add_folder(folder, &names)?;
        }
        Ok(found)
    }

    fn add_folder(&mut self, certs_dir: &Path, names: &[String]) -> Result<(), String> {
        for name in names {
            let Ok(entries) = certs_dir.join(name).read_dir() else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            // Sorted, so that the first client certificate is the same one on every machine.
            paths.sort();
            for path in paths {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => self.roots.extend(read_pem(&path)?.certificates),
                    Some("cert") if self.client.is_none() => {
                        self.client = Some(read_client_cert(&path, &path.with_extension("key"))?);
                    }
                    _ => {}
                }
            }
            break;
        }
        Ok(())
    }
}

fn read_client_cert(path: &Path, key_path: &Path) -> Result<ClientCert, String> {
    let chain = read_pem(path)?.certificates;
    let key = read_pem(key_path)?.key.ok_or_else(|| format!("no private key in `{}`", key_path.display()))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

#[derive(Default)]
struct Pem {
    certificates: Vec<Certificate<'static>>,
    key: Option<ureq::tls::PrivateKey<'static>>,
}

fn read_pem(path: &Path) -> Result<Pem, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let mut pem = Pem::default();
    for item in ureq::tls::parse_pem(&text) {
        match item.map_err(|error| format!("cannot parse `{}`: {error}", path.display()))? {
            PemItem::Certificate(certificate) => pem.certificates.push(certificate),
            PemItem::PrivateKey(key) => pem.key = Some(key),
            // The enum may grow; what is neither of the two is of no use here.
            _ => {}
        }
    }
    Ok(pem)
}
