//! How much did each step of a build add to its file system?

use std::collections::{BTreeMap, HashSet};

use slipway_store::{DbError, LayerId, Store};

use super::{BuildRecord, StepRecord};

/// Bytes by the number of the step; for a step that only provides files, all that it provides. Steps whose results are
/// no longer in `store` are left out, as are folders of the host.
///
/// Needs the root of the user namespace in which the files were made, to measure what nobody has measured yet.
pub fn step_sizes(store: &Store, build: &BuildRecord) -> Result<BTreeMap<u32, u64>, DbError> {
    let mut stacks: BTreeMap<u32, Vec<LayerId>> = BTreeMap::new();
    for step in &build.steps {
        let Some(vertex) = &step.vertex else { continue };
        if let Some(found) = store.lookup(&vertex.key)? {
            stacks.insert(step.number, found.snapshot.layers().to_vec());
        }
    }
    let mut sizes = BTreeMap::new();
    for step in &build.steps {
        let Some(stack) = stacks.get(&step.number) else { continue };
        let below: HashSet<&LayerId> = base_of(step).and_then(|base| stacks.get(&base)).into_iter().flatten().collect();
        let added = stack.iter().filter(|layer| !below.contains(layer)).map(|layer| store.layer_bytes(layer));
        sizes.insert(step.number, added.sum::<Result<u64, DbError>>()?);
    }
    Ok(sizes)
}

/// The step whose files this one adds to.
fn base_of(step: &StepRecord) -> Option<u32> {
    let vertex = step.vertex.as_ref().filter(|vertex| !vertex.is_source)?;
    vertex.inputs.first().copied()
}
