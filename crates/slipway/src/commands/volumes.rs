//! `slipway volume`: folders of the store that outlive the containers that use them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slipway_engine::{ContainerMount, chain};
use slipway_store::{Store, remove_volume, volumes};

use crate::cli::volumes::{CreateArgs, VolumeCommand};
use crate::commands;
use crate::commands::local_images::{print, told};
use crate::commands::system::is_confirmed;
use crate::containers::{self, ContainersError};
use crate::listing::Listing;
use crate::place;
use crate::report::CommandError;

const LISTING: Listing<'_> = Listing {
    kind: "*formatter.volumeContext",
    headers: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
};

/// The only one that there is.
const DRIVER: &str = "local";

/// Why something about a volume cannot be done.
#[derive(Debug, thiserror::Error)]
enum VolumeCommandError {
    #[error("there is no volume driver {0:?}: volumes are folders of this machine, whose driver is \"local\"")]
    Driver(String),
    #[error("get {0}: no such volume")]
    None(String),
    #[error("remove {name}: volume is in use - [{}]", .users.join(", "))]
    Used { name: String, users: Vec<String> },
    #[error("invalid filter '{0}'")]
    Filter(String),
    #[error(transparent)]
    Volume(#[from] slipway_store::VolumeError),
    #[error(transparent)]
    Containers(#[from] ContainersError),
}

/// Does what was asked for.
pub(crate) fn run(command: &VolumeCommand) -> Result<(), CommandError> {
    match command {
        VolumeCommand::Create(args) => create(args),
        VolumeCommand::Inspect { volumes, format } => inspect(volumes, format),
        VolumeCommand::List { filters, format, quiet } => list(filters, format, *quiet),
        VolumeCommand::Prune { all, force } => prune(*all, *force),
        VolumeCommand::Remove { volumes, force } => remove(volumes, *force),
    }
}

/// Prints what was found, and fails if something was not.
pub(crate) fn inspect(names: &[String], format: &str) -> Result<(), CommandError> {
    let root = root()?;
    let known = volumes(&root).map_err(|error| told(&error))?;
    commands::inspect::write(names, format, |name| match known.contains(name) {
        true => Ok(document(&root, name)),
        false => Err(VolumeCommandError::None(name.to_owned()).to_string()),
    })
}

fn root() -> Result<PathBuf, CommandError> {
    Ok(place::store_root(place::find(None)?))
}

fn create(args: &CreateArgs) -> Result<(), CommandError> {
    if args.driver != DRIVER {
        return Err(told(&VolumeCommandError::Driver(args.driver.clone())));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => containers::new_id().map_err(|error| told(&error))?,
    };
    let place = place::find(None)?;
    let flavor = place::enter(place)?;
    let store = Store::open(&place::store_root(place), flavor).map_err(|error| told(&error))?;
    store.declare_volume(&name).map_err(|error| told(&error))?;
    print(&format!("{name}\n"))
}

fn list(filters: &[String], format: &str, is_quiet: bool) -> Result<(), CommandError> {
    let root = root()?;
    let mut names = volumes(&root).map_err(|error| told(&error))?;
    for filter in filters {
        keep(&mut names, filter)?;
    }
    let rows: Vec<Value> = names.iter().map(|name| row(&root, name)).collect();
    let format = if is_quiet && format.is_empty() { "{{.Name}}" } else { format };
    let text = LISTING.write(format, &rows).map_err(|error| CommandError::Told(format!("{error}\n")))?;
    print(&text)
}

/// Leaves the names that `filter` holds for.
fn keep(names: &mut BTreeSet<String>, filter: &str) -> Result<(), CommandError> {
    let invalid = || told(&VolumeCommandError::Filter(filter.to_owned()));
    match filter.split_once('=').ok_or_else(invalid)? {
        ("name", part) => names.retain(|name| name.contains(part)),
        ("driver", driver) => names.retain(|_| driver == DRIVER),
        ("dangling", value) => {
            let is_wanted = match value {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(invalid()),
            };
            let used = users().map_err(|error| told(&error))?;
            names.retain(|name| used.contains_key(name) != is_wanted);
        }
        _ => return Err(invalid()),
    }
    Ok(())
}

fn row(root: &Path, name: &str) -> Value {
    json!({
        "Availability": "N/A", "Driver": DRIVER, "Group": "N/A", "Labels": "", "Links": "N/A",
        "Mountpoint": root.join("volumes").join(name), "Name": name, "Scope": "local", "Size": "N/A", "Status": "N/A",
    })
}

fn document(root: &Path, name: &str) -> Value {
    json!({
        "Driver": DRIVER, "Labels": null, "Mountpoint": root.join("volumes").join(name), "Name": name,
        "Options": null, "Scope": "local",
    })
}

fn prune(removes_named: bool, is_forced: bool) -> Result<(), CommandError> {
    // The namespace first: files of volumes may belong to ids that only it has, and what is typed is read once only.
    let place = place::find(None)?;
    place::enter(place)?;
    let root = place::store_root(place);
    let kind = if removes_named { "all" } else { "anonymous" };
    let what = format!("{kind} local volumes not used by at least one container");
    if !is_forced && !is_confirmed(&[&what])? {
        return Ok(());
    }
    let used = users().map_err(|error| told(&error))?;
    let mut gone = volumes(&root).map_err(|error| told(&error))?;
    gone.retain(|name| !used.contains_key(name) && (removes_named || is_anonymous(name)));
    for name in &gone {
        remove_volume(&root, name).map_err(|error| told(&error))?;
    }
    let lines: String = gone.iter().map(|name| format!("{name}\n")).collect();
    print(&if gone.is_empty() { String::new() } else { format!("Deleted Volumes:\n{lines}") })
}

/// Removes what can be removed, says so, and fails if something could not be.
fn remove(names: &[String], is_forced: bool) -> Result<(), CommandError> {
    let place = place::find(None)?;
    place::enter(place)?;
    let root = place::store_root(place);
    let used = users().map_err(|error| told(&error))?;
    let mut mistakes = String::new();
    for name in names {
        let removed = match used.get(name) {
            Some(users) => Err(VolumeCommandError::Used { name: name.clone(), users: users.clone() }),
            None => match remove_volume(&root, name) {
                Ok(is_there) if is_there || is_forced => Ok(()),
                Ok(_) => Err(VolumeCommandError::None(name.clone())),
                Err(error) => Err(error.into()),
            },
        };
        match removed {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) => mistakes.push_str(&format!("Error: {}\n", chain(&error))),
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(CommandError::Told(mistakes)) }
}

/// Whether people did not name it.
pub(crate) fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The ids of the containers that use volumes, by the names of these; containers that have ended among them.
fn users() -> Result<BTreeMap<String, Vec<String>>, ContainersError> {
    let mut users = BTreeMap::<String, Vec<String>>::new();
    for known in containers::all()? {
        for mount in &known.config.request.mounts {
            if let ContainerMount::Volume { name: Some(name), .. } = mount {
                users.entry(name.clone()).or_default().push(known.config.id.clone());
            }
        }
    }
    Ok(users)
}
