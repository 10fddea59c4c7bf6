//! What is known of a key, here or on another machine?

use std::sync::Arc;

use slipway_oci::Digest;
use slipway_registry::Registry;
use slipway_solver::{Cache, Cancel};
use slipway_store::{KeyLock, Store};

use super::{EngineOps, OpError, Output};
use crate::remote::RemoteSnapshot;
use crate::shared_cache::import::Imports;

/// The solver's memory: the store, and what other machines remember.
pub(crate) struct EngineCache<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    pub(crate) imports: &'a Imports<'a>,
}

impl Cache<EngineOps<'_>> for EngineCache<'_> {
    type Lock = KeyLock;

    fn lookup(&self, key: &Digest) -> Result<Option<Output>, OpError> {
        if let Some(record) = self.store.lookup(key)? {
            return Ok(Some(Output::Snapshot(record.snapshot)));
        }
        if let Some(imported) = self.imports.lookup(key) {
            return Ok(Some(Output::Remote(imported)));
        }
        let promised = RemoteSnapshot::remembered(key, self.store, self.registry)?;
        Ok(promised.map(|promised| Output::Remote(Arc::new(promised))))
    }

    fn record(&self, keys: &[Digest], output: &Output) -> Result<(), OpError> {
        match output {
            Output::Snapshot(snapshot) => Ok(self.store.record(keys, snapshot.id(), None)?),
            Output::Remote(remote) => {
                remote.add_keys(keys);
                keys.first().map_or(Ok(()), |definition| Ok(remote.remember(definition, self.store)?))
            }
            // Folders of the host change without telling anybody.
            Output::Context(_) => Ok(()),
        }
    }

    fn lock(&self, key: &Digest, cancel: &Cancel) -> Result<Option<KeyLock>, OpError> {
        Ok(self.store.lock_key(key, || !cancel.is_canceled())?)
    }
}
