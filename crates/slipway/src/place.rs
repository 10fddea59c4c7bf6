//! On which rung of the sandbox's ladder does this run stand, and which store goes with it?
//!
//! Where files have one owner only, the owners that they should have are recorded on them, and where they have several
//! nobody looks at such records. So the two have separate stores, and a machine may change from one to the other.

use std::path::PathBuf;

use slipway_sandbox::ladder::{self, Place, Rung, UnknownRung};
use slipway_sandbox::userns::{self, Entered, Mode};
use slipway_store::OverlayFlavor;

use crate::report::CommandError;
use crate::{client_config, env_vars};

/// The folder, below that of the usual store, of the store whose files have one owner.
const SINGLE_ID: &str = "single-id";

/// The environment names a rung that there is not.
#[derive(Debug, thiserror::Error)]
#[error("invalid value of SLIPWAY_SANDBOX")]
struct SettingError {
    source: UnknownRung,
}

/// Finds the rung: the wanted one, or the best that this machine allows. Before any thread.
pub(crate) fn find(wanted: Option<Rung>) -> Result<Place, CommandError> {
    let setting = || env_vars::SLIPWAY_SANDBOX.get().map(|name| name.parse()).transpose();
    let wanted = match wanted {
        Some(rung) => Some(rung),
        None => setting().map_err(|source| CommandError::Options(Box::new(SettingError { source })))?,
    };
    Ok(ladder::find(wanted, &memory())?)
}

/// Enters the user namespace that goes with the place, if one does; the answer says how the store is to be opened.
/// Before any thread.
pub(crate) fn enter(place: Place) -> Result<OverlayFlavor, CommandError> {
    // What is remembered about the machine may have changed.
    match userns::enter(place).inspect_err(|_| forget())? {
        Entered::Inside(Mode::Root) => Ok(OverlayFlavor::Root),
        Entered::Inside(Mode::UserNamespace { .. }) => Ok(OverlayFlavor::UserNamespace),
        Entered::Finished(status) => userns::end_like(status),
    }
}

/// Forgets which rung was the best, because it turned out not to work.
fn forget() {
    ladder::forget(&memory());
}

/// The folder of the store for this place.
pub(crate) fn store_root(place: Place) -> PathBuf {
    let root = client_config::store_root();
    if place.has_single_id() { root.join(SINGLE_ID) } else { root }
}

fn memory() -> PathBuf {
    client_config::store_root().join("sandbox")
}
