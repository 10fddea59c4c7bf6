//! Volumes without a name, which stay with a container when it is replaced, and those that it takes over from others
//! (`volumes_from`).

use std::collections::BTreeSet;

use slipway_engine::ContainerMount;
use slipway_oci::Digest;

use super::{Model, PlanError};
use crate::containers;
use crate::stack::protocol::Planned;

/// A name for the volume that a container has at `target`: the same whenever it is made anew.
fn anonymous_name(container: &str, target: &str) -> String {
    Digest::of(format!("{container}\0{target}").as_bytes()).hex().to_owned()
}

/// Gives the volumes of a container names, those of its image (`of_image`) included.
pub(in super::super) fn name_anonymous(planned: &mut Planned, of_image: &[String]) {
    let container = planned.config.name.clone();
    let mounts = &mut planned.config.request.mounts;
    let volume = |target: &String| ContainerMount::Volume {
        name: None,
        target: target.clone(),
        is_readonly: false,
        starts_empty: false,
    };
    let taken: BTreeSet<String> = mounts.iter().map(|mount| mount.target().to_owned()).collect();
    mounts.extend(of_image.iter().filter(|target| !taken.contains(*target)).map(volume));
    for mount in mounts {
        if let ContainerMount::Volume { name: name @ None, target, .. } = mount {
            *name = Some(anonymous_name(&container, target));
        }
    }
}

/// Takes the names away again from those volumes that are the container's own, for one that nobody replaces.
pub(in super::super) fn forget_anonymous(planned: &mut Planned) {
    let container = planned.config.name.clone();
    for mount in &mut planned.config.request.mounts {
        if let ContainerMount::Volume { name, target, .. } = mount
            && *name == Some(anonymous_name(&container, target))
        {
            *name = None;
        }
    }
}

impl Model {
    /// Adds what `volumes_from` asks for to a container of `service`. `volumes_of_image` are the targets of volumes that
    /// an image declares.
    pub(in super::super) fn take_volumes_over(
        &self,
        planned: &mut Planned,
        volumes_of_image: &dyn Fn(&str) -> Vec<String>,
    ) -> Result<(), PlanError> {
        let service = self.service(&planned.service)?;
        for entry in &service.volumes_from {
            let (source, is_readonly) = match entry.rsplit_once(':') {
                Some((source, "ro")) => (source, true),
                Some((source, "rw")) => (source, false),
                _ => (entry.as_str(), false),
            };
            let mounts = match source.strip_prefix("container:") {
                Some(name) => {
                    let found = containers::find(name);
                    let reason = |error: containers::ContainersError| PlanError::Service {
                        service: planned.service.clone(),
                        reason: format!("volumes_from: {error}"),
                    };
                    found.map_err(reason)?.config.request.mounts
                }
                None => self.mounts_of(source, volumes_of_image)?,
            };
            let own = &mut planned.config.request.mounts;
            let taken: BTreeSet<String> = own.iter().map(|mount| mount.target().to_owned()).collect();
            own.extend(
                mounts
                    .into_iter()
                    .filter_map(|mount| shared(mount, is_readonly))
                    .filter(|mount| !taken.contains(mount.target())),
            );
        }
        Ok(())
    }

    /// What is mounted in the first container of a service.
    fn mounts_of(
        &self,
        source: &str,
        volumes_of_image: &dyn Fn(&str) -> Vec<String>,
    ) -> Result<Vec<ContainerMount>, PlanError> {
        let mut planned = self.planned(source, self.service(source)?, 1)?;
        let of_image = volumes_of_image(&planned.config.request.image);
        name_anonymous(&mut planned, &of_image);
        // The project has been checked for circles.
        self.take_volumes_over(&mut planned, volumes_of_image)?;
        Ok(planned.config.request.mounts)
    }
}

/// Folders of the host and volumes are shared; devices and what is in memory are not.
fn shared(mount: ContainerMount, takes_readonly: bool) -> Option<ContainerMount> {
    match mount {
        ContainerMount::Bind { source, target, is_readonly, makes_source } => {
            Some(ContainerMount::Bind { source, target, is_readonly: is_readonly || takes_readonly, makes_source })
        }
        ContainerMount::Volume { name, target, is_readonly, starts_empty } => {
            Some(ContainerMount::Volume { name, target, is_readonly: is_readonly || takes_readonly, starts_empty })
        }
        ContainerMount::Tmpfs { .. } | ContainerMount::File { .. } | ContainerMount::Device { .. } => None,
    }
}
