//! How does a container of a stack get into its networks?

use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use slipway_engine::{JoinedNetwork, chain};
use slipway_sandbox::StackNetwork;

use super::owner::{Member, Stack};
use super::protocol::{NetworkPlace, Said};

impl Stack {
    /// The networks of the stack, made when the first container needs one.
    pub(super) fn network(&self) -> Result<Arc<StackNetwork>, slipway_sandbox::CallError> {
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(network) = &*network {
            return Ok(Arc::clone(network));
        }
        let (made, obstacle) = StackNetwork::start(&self.search_path)?;
        if let Some(error) = obstacle {
            let advice = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            self.say(&Said::Remark(format!("containers cannot reach the world outside: {error}{advice}")));
        }
        Ok(Arc::clone(network.insert(Arc::new(made))))
    }

    /// The network namespace for a container.
    pub(super) fn join(&self, name: &str) -> Result<Option<JoinedNetwork>, String> {
        let (place, hostname) = match self.lock().members.get(name) {
            Some(Member { planned, .. }) => (planned.place.clone(), planned.config.request.hostname.clone()),
            None => return Ok(None),
        };
        let copy = |namespace: &OwnedFd| namespace.try_clone().map_err(|error| chain(&error));
        match place {
            NetworkPlace::AsAsked => Ok(None),
            NetworkPlace::Of(service) => {
                let inner = self.lock();
                let host = inner.members.values().find(|m| m.planned.service == service && !m.owner.is_over());
                let Some((host, namespace)) = host.and_then(|host| Some((host, host.namespace.as_ref()?))) else {
                    return Err(format!("the service {service:?} has no network to join"));
                };
                let address = match &host.planned.place {
                    NetworkPlace::In(attachments) => inner
                        .addresses
                        .plugs(&host.planned.config.name, attachments)
                        .0
                        .first()
                        .map(|p| p.address.into()),
                    NetworkPlace::AsAsked | NetworkPlace::Of(_) => None,
                };
                let hosts = match &host.planned.place {
                    NetworkPlace::In(attachments) => inner.addresses.hosts(&host.planned.config.name, "", attachments),
                    NetworkPlace::AsAsked | NetworkPlace::Of(_) => Vec::new(),
                };
                let hosts = hosts.into_iter().filter(|(_, name)| !name.is_empty()).collect();
                Ok(Some(JoinedNetwork { namespace: copy(namespace)?, address, hosts }))
            }
            NetworkPlace::In(attachments) => {
                let (plugs, leads_out) = self.lock().addresses.plugs(name, &attachments);
                let network = self.network().map_err(|error| chain(&error))?;
                let namespace = network.namespace(&plugs, leads_out).map_err(|error| chain(&error))?;
                let mut inner = self.lock();
                let hosts = inner.addresses.hosts(name, hostname.as_deref().unwrap_or(name), &attachments);
                if let Some(member) = inner.members.get_mut(name) {
                    member.namespace = Some(Arc::new(copy(&namespace)?));
                }
                let address = plugs.first().map(|plug| plug.address.into());
                Ok(Some(JoinedNetwork { namespace, address, hosts }))
            }
        }
    }
}
