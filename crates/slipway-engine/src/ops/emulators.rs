//! How steps for another architecture than the machine's run: found out once a build, when the first of them runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use slipway_oci::Platform;
use slipway_sandbox::{CallError, Emulation, EmulatorError, mounts};

/// The emulators of one build.
pub(crate) struct Emulators {
    /// Where QEMU is looked for, as in `PATH`.
    search_path: OsString,
    found: Mutex<BTreeMap<String, Arc<Result<Emulation, EmulatorError>>>>,
}

/// What a step for a platform needs; nothing if the machine runs such programs itself.
pub(crate) type StepEmulation = Option<Arc<Result<Emulation, EmulatorError>>>;

impl Emulators {
    /// Nothing is looked for yet.
    pub(crate) fn new(search_path: OsString) -> Emulators {
        Emulators { search_path, found: Mutex::default() }
    }

    /// The emulation for a step that runs on `platform`. That there is none is no error yet: a base image may be for
    /// another platform than it was taken for.
    pub(crate) fn for_step(&self, platform: &Platform) -> StepEmulation {
        if is_native(&platform.architecture, &Platform::host().architecture) {
            return None;
        }
        // Held while an emulator is started, so that others wait for it rather than start their own.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let emulation = found
            .entry(platform.architecture.clone())
            .or_insert_with_key(|architecture| Arc::new(Emulation::find(architecture, &self.search_path)));
        Some(Arc::clone(emulation))
    }
}

/// Whether a processor runs programs of `architecture` by itself.
fn is_native(architecture: &str, host: &str) -> bool {
    architecture == host || (architecture, host) == ("386", "amd64")
}

/// The user namespace that the step joins.
pub(crate) fn namespace(emulation: &StepEmulation) -> io::Result<Option<OwnedFd>> {
    match emulation.as_deref() {
        Some(Ok(Emulation::Own(own))) => own.namespace().try_clone_to_owned().map(Some),
        Some(Ok(Emulation::ByHost | Emulation::ByHostFile(_)) | Err(_)) | None => Ok(None),
    }
}

/// The host's interpreter, where the kernel looks for it by path inside the root: the path and a mount of the file.
pub(crate) fn interpreter(emulation: &StepEmulation) -> Result<Option<(String, OwnedFd)>, CallError> {
    match emulation.as_deref() {
        Some(Ok(Emulation::ByHostFile(path))) => {
            Ok(Some((path.to_string_lossy().into_owned(), mounts::bind_path(path, false)?)))
        }
        Some(Ok(Emulation::ByHost | Emulation::Own(_)) | Err(_)) | None => Ok(None),
    }
}

/// Why programs for `platform` did not run, and what to do about it.
pub(crate) fn hint(emulation: &StepEmulation, platform: &Platform) -> Option<String> {
    match emulation.as_deref() {
        Some(Err(error)) => {
            Some(format!("programs for {platform} need an emulator here, and {error}; {}", error.hint()))
        }
        Some(Ok(_)) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_runs_its_own_programs_and_those_of_its_past() {
        assert!(is_native("amd64", "amd64") && is_native("386", "amd64"));
        assert!(!is_native("arm64", "amd64") && !is_native("amd64", "386"));
    }
}
