//! What does a `config.json` say about credentials, and how is a login written into it?
//!
//! Writing keeps whatever else is in the file, in its order: most of it belongs to other programs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize as _};
use serde_json::{Map, Value, json};

use super::Credential;

/// More than any `config.json` holds; caps what a wrong path can do.
const CONFIG_BYTES: u64 = 16 << 20;

/// Why a file with credentials is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` is no Docker configuration: {source}", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("`{}` is no Docker configuration: `{key}` is no object", path.display())]
    NoObject { path: PathBuf, key: &'static str },
    #[error("cannot write `{}`: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("invalid auth configuration file")]
    MalformedAuth,
}

/// The parts of `config.json` that are about credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Default, Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl DockerConfig {
    /// Reads a file; one that is not there counts as empty.
    pub(super) fn read(path: &Path) -> Result<DockerConfig, ConfigFileError> {
        let bytes = read_bytes(path)?;
        if bytes.is_empty() {
            return Ok(DockerConfig::default());
        }
        serde_json::from_slice(&bytes).map_err(|source| ConfigFileError::Malformed { path: path.to_owned(), source })
    }

    /// The helper that keeps the credential of `key`.
    pub(super) fn helper(&self, key: &str) -> Option<&str> {
        let own = self.cred_helpers.get(key).filter(|helper| !helper.is_empty());
        own.or(Some(&self.creds_store)).map(String::as_str).filter(|helper| !helper.is_empty())
    }

    /// The credential of `key` that is in the file itself.
    pub(super) fn credential(&self, key: &str) -> Result<Option<Credential>, ConfigFileError> {
        let by_host = || self.auths.iter().find(|(name, _)| host_part(name) == key).map(|(_, entry)| entry);
        self.auths.get(key).or_else(by_host).map_or(Ok(None), AuthEntry::credential)
    }
}

impl AuthEntry {
    fn credential(&self) -> Result<Option<Credential>, ConfigFileError> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::RegistryToken(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(self.identitytoken.clone())));
        }
        if !self.auth.is_empty() {
            return decode_auth(&self.auth).map(Some);
        }
        if self.username.is_empty() && self.password.is_empty() {
            return Ok(None);
        }
        Ok(Some(Credential::Basic { username: self.username.clone(), password: self.password.clone() }))
    }
}

/// Reads base64 of `user:password`.
pub(super) fn decode_auth(auth: &str) -> Result<Credential, ConfigFileError> {
    let bytes = STANDARD.decode(auth.trim()).map_err(|_| ConfigFileError::MalformedAuth)?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigFileError::MalformedAuth)?;
    let (username, password) = text.split_once(':').ok_or(ConfigFileError::MalformedAuth)?;
    Ok(Credential::Basic { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// The host of a key of `auths`, which may be a whole URL.
pub(super) fn host_part(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

/// The entry of `auths` for a login, or for one that a helper keeps.
pub(super) fn auth_entry(login: Option<(&str, &str)>) -> Value {
    match login {
        Some((username, password)) => json!({ "auth": STANDARD.encode(format!("{username}:{password}")) }),
        None => json!({}),
    }
}

/// Changes the `auths` of the file at `path`: `edit` says whether it changed something. A file that is not there is
/// made, readable by nobody else.
pub(super) fn edit_auths(
    path: &Path,
    edit: impl FnOnce(&mut Map<String, Value>) -> bool,
) -> Result<bool, ConfigFileError> {
    let unwritable = |source| ConfigFileError::Unwritable { path: path.to_owned(), source };
    // A link stays one: dotfiles are often kept elsewhere.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable)?;
    // Two logins at once must not undo each other. The folder stands in for the file, which is replaced.
    let folder_lock = File::open(folder).map_err(unwritable)?;
    folder_lock.lock().map_err(unwritable)?;

    let bytes = read_bytes(path)?;
    let mut document: Value = match bytes.is_empty() {
        true => json!({}),
        false => serde_json::from_slice(&bytes)
            .map_err(|source| ConfigFileError::Malformed { path: path.to_owned(), source })?,
    };
    let no_object = |key| ConfigFileError::NoObject { path: path.to_owned(), key };
    let fields = document.as_object_mut().ok_or_else(|| no_object("the whole"))?;
    let auths = fields.entry("auths").or_insert_with(|| json!({}));
    if auths.is_null() {
        *auths = json!({});
    }
    if !edit(auths.as_object_mut().ok_or_else(|| no_object("auths"))?) {
        return Ok(false);
    }
    // Such files are made with mode 0600.
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
    temporary.write_all(&tab_indented(&document).map_err(unwritable)?).map_err(unwritable)?;
    temporary.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(true)
}

/// The text as Docker writes it.
fn tab_indented(document: &Value) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    Ok(text)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, ConfigFileError> {
    let unreadable = |source| ConfigFileError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(error)),
        Ok(file) => drop(file.take(CONFIG_BYTES).read_to_end(&mut bytes).map_err(unreadable)?),
    };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn entry(json: &str) -> Result<Option<Credential>, String> {
        let entry: AuthEntry = serde_json::from_str(json).unwrap();
        entry.credential().map_err(|error| error.to_string())
    }

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic { username: username.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn entries_of_auths() {
        assert_eq!(entry(r#"{"auth":"dTpwOnE="}"#), Ok(Some(basic("u", "p:q"))));
        assert_eq!(entry(r#"{"auth":"dTpwAAA="}"#), Ok(Some(basic("u", "p"))));
        assert_eq!(entry(r#"{"username":"u","password":"p"}"#), Ok(Some(basic("u", "p"))));
        assert_eq!(entry(r#"{"auth":"dTpw","identitytoken":"t"}"#), Ok(Some(Credential::IdentityToken("t".into()))));
        assert_eq!(entry(r#"{"registrytoken":"t"}"#), Ok(Some(Credential::RegistryToken("t".into()))));
        assert_eq!(entry("{}"), Ok(None));
        assert_eq!(entry(r#"{"auth":"dXA="}"#), Err("invalid auth configuration file".into()));
    }

    #[test]
    fn keys_that_are_urls_name_their_host() {
        assert_eq!(host_part("https://quay.io/v1/"), "quay.io");
        assert_eq!(host_part("localhost:5000"), "localhost:5000");
    }

    #[test]
    fn what_else_is_in_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, r#"{"z":{"deep":[1]},"auths":{"b":{"auth":"x","new":1}},"a":"<&>"}"#).unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let add = |auths: &mut Map<String, Value>| auths.insert("c".into(), auth_entry(Some(("u", "p")))).is_none();
        assert!(edit_auths(&link, add).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let expected = "{\n\t\"z\": {\n\t\t\"deep\": [\n\t\t\t1\n\t\t]\n\t},\n\t\"auths\": {\n\t\t\"b\": {\n\t\t\t\"auth\": \
                        \"x\",\n\t\t\t\"new\": 1\n\t\t},\n\t\t\"c\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t},\n\t\"a\": \"<&>\"\n}";
        assert_eq!(text, expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink());
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for text in ["{", "[]", r#"{"auths":[]}"#] {
            fs::write(&path, text).unwrap();
            assert!(edit_auths(&path, |_| true).unwrap_err().to_string().contains("is no Docker configuration"));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
