//! `buildx create|use|ls|inspect|rm|stop`: names of builders, for scripts that make one before they build
//! (`spec/cli.md` section 12).
//!
//! There is one builder, this program. The names are kept in a file beside the store; nothing else depends on them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use slipway_oci::Platform;

use crate::cli::docker::{BuilderNamesCommand, CreateArgs};
use crate::client_config;
use crate::commands::version;
use crate::listing::Listing;
use crate::report::CommandError;

/// The builder that is always there.
const DEFAULT: &str = "default";
/// What a builder may be said to be. Scripts choose one; here it is only written down.
const DRIVERS: [&str; 5] = ["docker", "docker-container", "kubernetes", "remote", "cloud"];
/// Two words make the name of a builder that was given none.
const FIRST_WORDS: [&str; 6] = ["brisk", "calm", "dry", "steady", "keen", "plain"];
const SECOND_WORDS: [&str; 6] = ["anchor", "cradle", "keel", "mallet", "plank", "winch"];

/// The names, and which is chosen.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Builders {
    current: Option<String>,
    /// The driver of each.
    drivers: BTreeMap<String, String>,
}

/// Why a command about builders cannot be carried out. The texts are those of buildx.
#[derive(Debug, thiserror::Error)]
enum BuilderError {
    #[error("no builder {0:?} found")]
    Unknown(String),
    #[error(
        "existing instance for {0:?} but no append mode, specify the node name to make changes for existing instances"
    )]
    Exists(String),
    #[error("failed to find driver {0:?}")]
    Driver(String),
    #[error("failed to remove {0}: it is this program and always there")]
    Default(String),
    #[error("failed to remove one or more builders")]
    Remove,
    #[error("`{0}` is not supported: there is no daemon to talk to")]
    Unsupported(&'static str),
    #[error("cannot keep names of builders in `{path}`")]
    File { path: String, source: io::Error },
}

/// Carries out a command about builders.
pub(crate) fn run(command: &BuilderNamesCommand) -> Result<(), CommandError> {
    match command {
        BuilderNamesCommand::Version => return version::buildx(),
        BuilderNamesCommand::List { format, .. } => return list(format),
        _ => {}
    }
    let text = carry_out(command).map_err(|error| CommandError::Options(error.into()))?;
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

/// Whether `name` is that of a builder: the default one, or one that was created.
pub(crate) fn is_known(name: &str) -> bool {
    Builders::read().is_ok_and(|builders| builders.driver(name).is_some())
}

fn carry_out(command: &BuilderNamesCommand) -> Result<String, BuilderError> {
    let mut builders = Builders::read()?;
    match command {
        BuilderNamesCommand::Create(args) => builders.create(args),
        BuilderNamesCommand::Inspect { name, .. } => builders.inspect(name.as_deref()),
        BuilderNamesCommand::Use { name, .. } => builders.choose(name),
        BuilderNamesCommand::Remove { names, .. } => builders.remove(names),
        BuilderNamesCommand::Stop { name } => builders.named(name.as_deref()).map(|_| String::new()),
        BuilderNamesCommand::DialStdio(_) => Err(BuilderError::Unsupported("buildx dial-stdio")),
        BuilderNamesCommand::Dap(_) => Err(BuilderError::Unsupported("buildx dap")),
        BuilderNamesCommand::Policy(_) => Err(BuilderError::Unsupported("buildx policy")),
        BuilderNamesCommand::Install
        | BuilderNamesCommand::Uninstall
        | BuilderNamesCommand::Version
        | BuilderNamesCommand::List { .. } => Ok(String::new()),
    }
}

fn file() -> PathBuf {
    client_config::store_root().join("builders.json")
}

impl Builders {
    /// A file that is damaged holds names and nothing else, so it counts as empty.
    fn read() -> Result<Builders, BuilderError> {
        match fs::read(file()) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Builders::default()),
            Err(source) => Err(BuilderError::File { path: file().display().to_string(), source }),
        }
    }

    fn write(&self) -> Result<(), BuilderError> {
        let failed = |source| BuilderError::File { path: file().display().to_string(), source };
        fs::create_dir_all(client_config::store_root()).map_err(failed)?;
        fs::write(file(), json!(self).to_string()).map_err(failed)
    }

    fn current(&self) -> &str {
        self.current.as_deref().filter(|name| self.drivers.contains_key(*name)).unwrap_or(DEFAULT)
    }

    fn driver(&self, name: &str) -> Option<&str> {
        if name == DEFAULT { Some("docker") } else { self.drivers.get(name).map(String::as_str) }
    }

    /// The builder of this name, or the chosen one.
    fn named<'a>(&'a self, name: Option<&'a str>) -> Result<(&'a str, &'a str), BuilderError> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(self.current());
        let driver = self.driver(name).ok_or_else(|| BuilderError::Unknown(name.to_owned()))?;
        Ok((name, driver))
    }

    fn create(&mut self, args: &CreateArgs) -> Result<String, BuilderError> {
        if !DRIVERS.contains(&args.driver.as_str()) {
            return Err(BuilderError::Driver(args.driver.clone()));
        }
        let name = match args.name.as_str() {
            "" => self.free_name(),
            name => name.to_owned(),
        };
        if self.driver(&name).is_some() && !args.append {
            return Err(BuilderError::Exists(name));
        }
        self.drivers.insert(name.clone(), args.driver.clone());
        if args.is_chosen {
            self.current = Some(name.clone());
        }
        self.write()?;
        Ok(format!("{name}\n"))
    }

    /// Two words that no builder is called yet; with a number, when all are.
    fn free_name(&self) -> String {
        let pairs = FIRST_WORDS.iter().flat_map(|first| SECOND_WORDS.map(|second| format!("{first}_{second}")));
        let numbered = (2..).flat_map(|n: usize| SECOND_WORDS.map(|second| format!("{}_{second}{n}", FIRST_WORDS[0])));
        let mut names = pairs.chain(numbered);
        names.find(|name| !self.drivers.contains_key(name)).expect("because numbers do not end")
    }

    fn choose(&mut self, name: &str) -> Result<String, BuilderError> {
        self.named(Some(name))?;
        self.current = Some(name.to_owned()).filter(|name| name != DEFAULT);
        self.write()?;
        Ok(String::new())
    }

    /// Forgets the names that are there, and says which are not.
    fn remove(&mut self, names: &[String]) -> Result<String, BuilderError> {
        let current = [self.current().to_owned()];
        let names = if names.is_empty() { &current[..] } else { names };
        let mut has_failed = false;
        for name in names {
            let is_there = self.drivers.remove(name).is_some();
            has_failed |= !is_there;
            let outcome = match is_there {
                true => format!("{name} removed"),
                false if name == DEFAULT => BuilderError::Default(name.clone()).to_string(),
                false => format!("failed to remove {name}: {}", BuilderError::Unknown(name.clone())),
            };
            // Nobody is left to be told that the terminal is gone.
            let _ = writeln!(io::stderr(), "{outcome}");
        }
        self.write()?;
        if has_failed { Err(BuilderError::Remove) } else { Ok(String::new()) }
    }

    fn inspect(&self, name: Option<&str>) -> Result<String, BuilderError> {
        let (name, driver) = self.named(name)?;
        let (platform, version) = (Platform::host(), env!("CARGO_PKG_VERSION"));
        Ok(format!(
            "Name:   {name}\nDriver: {driver}\n\nNodes:\nName:             {name}\nEndpoint:         slipway\nStatus:           \
             running\nBuildKit version: slipway-{version}\nPlatforms:        {platform}\n"
        ))
    }
}

fn list(format: &str) -> Result<(), CommandError> {
    let builders = Builders::read().map_err(|error| CommandError::Options(error.into()))?;
    let names = builders.drivers.keys().map(String::as_str).chain([DEFAULT]);
    let rows: Vec<Value> = names.filter_map(|name| Some((name, builders.driver(name)?))).flat_map(|(name, driver)| {
        let is_current = builders.current() == name;
        let star = if is_current { "*" } else { "" };
        let node = json!({"Name": name, "Endpoint": "slipway", "Status": "running", "Platforms": [Platform::host().to_string()]});
        let builder = json!({
            "Name": name, "NameNode": format!("{name}{star}"), "Driver": driver, "DriverEndpoint": driver, "Status": "",
            "Buildkit": "", "Platforms": "", "Nodes": [node], "Current": is_current, "Dynamic": false, "LastActivity": null,
        });
        let node = json!({
            "Name": name, "NameNode": format!(" \\_ {name}"), "DriverEndpoint": " \\_ slipway", "Status": "running",
            "Buildkit": format!("slipway-{}", env!("CARGO_PKG_VERSION")), "Platforms": Platform::host().to_string(),
        });
        // Programs find the nodes in the builder.
        if format.starts_with("{{") || format == "json" { vec![builder] } else { vec![builder, node] }
    }).collect();
    let listing = Listing {
        kind: "*builder.lsContext",
        headers: &[
            ("Name", "NAME"),
            ("NameNode", "NAME/NODE"),
            ("DriverEndpoint", "DRIVER/ENDPOINT"),
            ("Status", "STATUS"),
            ("Buildkit", "BUILDKIT"),
            ("Platforms", "PLATFORMS"),
        ],
        table: "{{.NameNode}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Buildkit}}\t{{.Platforms}}",
    };
    let text = listing.write(format, &rows).map_err(|error| CommandError::Told(format!("{error}\n")))?;
    io::stdout().write_all(text.as_bytes()).map_err(|error| CommandError::Options(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_builder_is_chosen_until_another_is() {
        let mut builders = Builders::default();
        assert_eq!(builders.named(None).unwrap(), ("default", "docker"));
        builders.drivers.insert("ci".to_owned(), "remote".to_owned());
        builders.current = Some("ci".to_owned());
        assert_eq!(builders.named(None).unwrap(), ("ci", "remote"));
        // A name that somebody has forgotten is chosen no longer.
        builders.drivers.clear();
        assert_eq!(builders.current(), "default");
        assert_eq!(builders.named(Some("nope")).unwrap_err().to_string(), "no builder \"nope\" found");
    }

    #[test]
    fn every_name_that_is_made_is_a_new_one() {
        let mut builders = Builders::default();
        for n in 0..50 {
            let name = builders.free_name();
            assert!(name.contains('_'), "{name}");
            builders.drivers.insert(name, "docker".to_owned());
            assert_eq!(builders.drivers.len(), n + 1);
        }
    }
}
