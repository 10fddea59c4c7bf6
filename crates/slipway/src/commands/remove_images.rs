//! `slipway rmi`: takes names away. What no name stands for goes with the next `prune`.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use slipway_oci::Reference;
use slipway_store::Store;

use crate::cli::images::RemoveImagesArgs;
use crate::commands::local_images::{LocalImage, LocalImageError, find, id, open_store, repository_and_tag, told};
use crate::containers::{self, Known};
use crate::report::CommandError;

/// Why a name stays.
#[derive(Debug, thiserror::Error)]
enum RemoveError {
    #[error(transparent)]
    Image(#[from] LocalImageError),
    #[error("conflict: unable to delete {0} (must be forced) - image is referenced in multiple repositories")]
    SeveralRepositories(String),
    #[error(
        "conflict: unable to delete {name} (must be forced) - container {container} is using its referenced image {id}"
    )]
    Used { name: String, container: String, id: String },
    #[error(
        "conflict: unable to delete {id} (cannot be forced) - image is being used by running container {container}"
    )]
    Running { id: String, container: String },
    #[error("conflict: unable to delete {id} (must be forced) - image is being used by stopped container {container}")]
    Stopped { id: String, container: String },
}

/// Removes what can be removed, says so, and fails if something could not be.
pub(crate) fn run(args: &RemoveImagesArgs) -> Result<(), CommandError> {
    let store = open_store()?;
    let mut errors = String::new();
    for name in &args.images {
        match remove(&store, name, args.force) {
            Ok(lines) => io::stdout().write_all(lines.as_bytes()).map_err(|error| told(&error))?,
            Err(error) => errors.push_str(&format!("Error: {}\n", slipway_engine::chain(&error))),
        }
    }
    // With --force, what is not there is as good as removed.
    if errors.is_empty() || (args.force && errors.lines().all(|line| line.starts_with("Error: No such image"))) {
        return io::stderr().write_all(errors.as_bytes()).map_err(|error| told(&error));
    }
    Err(CommandError::Told(errors))
}

/// One image or one of its names; what was done.
fn remove(store: &Store, text: &str, is_forced: bool) -> Result<String, RemoveError> {
    let LocalImage { record, names, asked, .. } = find(store, text)?;
    let repositories: BTreeSet<String> = names.iter().map(|name| repository_and_tag(name).0).collect();
    let by_id = asked.is_none();
    if by_id && repositories.len() > 1 && !is_forced {
        return Err(RemoveError::SeveralRepositories(text.to_owned()));
    }
    let goes = asked.map_or_else(|| names.clone(), |name| vec![name]);
    let is_last = goes.len() == names.len();
    let users = containers::of_image(&record.config, &names).map_err(LocalImageError::from)?;
    if is_last {
        check_users(&users, goes.first().filter(|_| !by_id), &id(&record.config, false), is_forced)?;
    }
    let mut lines = String::new();
    store.forget_unnamed(&record.config).map_err(LocalImageError::from)?;
    for name in &goes {
        store.untag(name).map_err(LocalImageError::from)?;
        lines.push_str(&format!("Untagged: {}\n", name.familiar()));
    }
    match (is_last, users.is_empty()) {
        (true, true) => lines.push_str(&format!("Deleted: {}\n", record.config)),
        // Its containers still need it.
        (true, false) => store.list_unnamed(&record).map_err(LocalImageError::from)?,
        (false, _) => {}
    }
    Ok(lines)
}

/// Whether an image may go that `users` are made from; `name` is its last one, if that is what it was asked for by.
fn check_users(users: &[Known], name: Option<&Reference>, id: &str, is_forced: bool) -> Result<(), RemoveError> {
    let (live, ended): (Vec<&Known>, Vec<&Known>) = users.iter().partition(|known| known.state.is_live());
    let Some(user) = live.first().or(ended.first()) else { return Ok(()) };
    let (id, container) = (id.to_owned(), user.short_id().to_owned());
    match name {
        Some(name) if !is_forced => Err(RemoveError::Used { name: name.familiar(), container, id }),
        None if !live.is_empty() => Err(RemoveError::Running { id, container }),
        None if !is_forced => Err(RemoveError::Stopped { id, container }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use slipway_oci::Platform;
    use slipway_store::{ImageRecord, OverlayFlavor};

    use super::*;

    fn store(names: &[&str]) -> (tempfile::TempDir, Store, ImageRecord) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), OverlayFlavor::Root).unwrap();
        let image = ImageRecord {
            manifest: None,
            config: store.put_blob(b"{}").unwrap().digest,
            layers: Vec::new(),
            created: None,
            platform: Platform::new("linux", "amd64", None),
            registry_digest: None,
            others: Vec::new(),
        };
        for name in names {
            store.name_image(&name.parse().unwrap(), &image).unwrap();
        }
        (folder, store, image)
    }

    #[test]
    fn an_image_goes_with_its_last_name() {
        let (_folder, store, image) = store(&["a:1", "b"]);
        assert_eq!(remove(&store, "a:1", false).unwrap(), "Untagged: a:1\n");
        let last = format!("Untagged: b:latest\nDeleted: {}\n", image.config);
        assert_eq!(remove(&store, "b", false).unwrap(), last);
        assert!(remove(&store, "b", false).is_err());
    }

    #[test]
    fn an_image_without_a_name_goes_by_its_id() {
        let (_folder, store, image) = store(&[]);
        store.list_unnamed(&image).unwrap();
        assert_eq!(remove(&store, image.config.as_str(), false).unwrap(), format!("Deleted: {}\n", image.config));
        assert_eq!(store.unnamed_images().unwrap(), []);
    }

    #[test]
    fn an_id_stands_for_all_tags_of_one_repository() {
        let (_folder, store, image) = store(&["a:1", "a:2"]);
        let removed = remove(&store, &image.config.hex()[..12], false).unwrap();
        assert_eq!(removed, format!("Untagged: a:1\nUntagged: a:2\nDeleted: {}\n", image.config));
    }

    #[test]
    fn an_id_of_several_repositories_needs_force() {
        let (_folder, store, image) = store(&["a:1", "b:1"]);
        let id = &image.config.hex()[..12];
        let error = remove(&store, id, false).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories")
        );
        assert_eq!(store.images().unwrap().len(), 2);
        assert_eq!(remove(&store, id, true).unwrap().lines().count(), 3);
        assert_eq!(store.images().unwrap(), []);
    }
}
