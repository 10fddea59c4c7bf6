//! `slipway rmi`: takes names away. What no name stands for goes with the next `prune`.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use slipway_store::Store;

use crate::cli::images::RemoveImagesArgs;
use crate::commands::local_images::{LocalImage, LocalImageError, find, open_store, repository_and_tag, told};
use crate::report::CommandError;

/// Why a name stays.
#[derive(Debug, thiserror::Error)]
enum RemoveError {
    #[error(transparent)]
    Image(#[from] LocalImageError),
    #[error("conflict: unable to delete {0} (must be forced) - image is referenced in multiple repositories")]
    SeveralRepositories(String),
}

/// Removes what can be removed, says so, and fails if something could not be.
pub(crate) fn run(args: &RemoveImagesArgs) -> Result<(), CommandError> {
    let store = open_store()?;
    let mut errors = String::new();
    for name in &args.images {
        match remove(&store, name, args.force) {
            Ok(lines) => io::stdout().write_all(lines.as_bytes()).map_err(|error| told(&error))?,
            // With --force, what is not there is as good as removed.
            Err(error) => errors.push_str(&format!("Error: {}\n", slipway_engine::chain(&error))),
        }
    }
    if errors.is_empty() || (args.force && errors.lines().all(|line| line.starts_with("Error: No such image"))) {
        return io::stderr().write_all(errors.as_bytes()).map_err(|error| told(&error));
    }
    Err(CommandError::Told(errors))
}

/// One image or one of its names; what was done.
fn remove(store: &Store, name: &str, is_forced: bool) -> Result<String, RemoveError> {
    let image = find(store, name)?;
    let repositories: BTreeSet<String> = image.names.iter().map(|name| repository_and_tag(name).0).collect();
    let LocalImage { record, names, asked } = image;
    let goes = match asked {
        Some(name) => vec![name],
        None if repositories.len() > 1 && !is_forced => {
            return Err(RemoveError::SeveralRepositories(name.to_owned()));
        }
        None => names.clone(),
    };
    let mut lines = String::new();
    for name in &goes {
        store.untag(name).map_err(LocalImageError::from)?;
        lines.push_str(&format!("Untagged: {}\n", name.familiar()));
    }
    if goes.len() == names.len() {
        lines.push_str(&format!("Deleted: {}\n", record.config));
    }
    Ok(lines)
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
