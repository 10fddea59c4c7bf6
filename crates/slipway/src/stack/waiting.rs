//! How long does a stack wait for a container: until it runs, is well, or has done its work?

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::owner::{Failure, Stack};
use super::protocol::{Condition, Dependency, Said};
use crate::containers::State;
use crate::containers::health::Health;
use crate::containers::owner::Owner;
use crate::exit_code;

impl Stack {
    /// Waits for what a container depends on.
    pub(super) fn await_dependencies(&self, name: &str) -> Result<(), String> {
        let needed = self.lock().members.get(name).map(|member| member.planned.depends_on.clone()).unwrap_or_default();
        for dependency in needed {
            for owner in self.owners_of(&dependency.service) {
                match (await_condition(&owner, &dependency), dependency.is_required) {
                    (Ok(()), _) => {}
                    (Err(message), true) => return Err(message),
                    (Err(message), false) => {
                        let text = format!("optional dependency {:?} failed to start: {message}", dependency.service);
                        self.say(&Said::Remark(text));
                    }
                }
            }
        }
        Ok(())
    }

    fn owners_of(&self, service: &str) -> Vec<Arc<Owner>> {
        let inner = self.lock();
        let members = inner.members.values().filter(|member| member.planned.service == service);
        members.map(|member| Arc::clone(&member.owner)).collect()
    }

    /// Waits until containers are healthy, or run where nobody asks how they are.
    pub(super) fn wait_until_well(&self, names: &[String], patience: Option<Duration>) -> Result<(), Failure> {
        let until = patience.map(|patience| Instant::now() + patience);
        for name in names {
            let Some((owner, _)) = self.live(name) else {
                return Err((format!("container {name} exited"), exit_code::FAILURE));
            };
            let is_known = |state: &State| state.health != Some(Health::Starting);
            let state = match until {
                None => Some(owner.wait_for(is_known)),
                Some(until) => owner.wait_for_at_most(until.saturating_duration_since(Instant::now()), is_known),
            };
            match state {
                None => {
                    return Err(("application not healthy after the time that it had".to_owned(), exit_code::FAILURE));
                }
                Some(state) if state.health == Some(Health::Unhealthy) => {
                    return Err((format!("container {name} is unhealthy"), exit_code::FAILURE));
                }
                Some(state) if !state.is_live() => {
                    return Err((format!("container {name} exited ({})", state.exit_code), exit_code::FAILURE));
                }
                Some(state) if state.health == Some(Health::Healthy) => self.step(name, "Healthy"),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn await_condition(owner: &Owner, dependency: &Dependency) -> Result<(), String> {
    let name = &owner.config().name;
    let failed = |why: &str| Err(format!("dependency failed to start: container {name} {why}"));
    match dependency.condition {
        Condition::Started => {
            let state = owner.wait_for(|state| state.started.is_some());
            match (state.started, state.error) {
                (Some(_), None) => Ok(()),
                (_, error) => Err(error.unwrap_or_else(|| format!("container {name} did not start"))),
            }
        }
        Condition::Healthy => {
            let state = owner.wait_for(|state| state.started.is_some() && state.health != Some(Health::Starting));
            match (&state.error, state.health) {
                (Some(error), _) => Err(error.clone()),
                (None, _) if !state.is_live() => failed(&format!("exited ({})", state.exit_code)),
                (None, Some(Health::Healthy)) => Ok(()),
                (None, None) => failed("has no healthcheck configured"),
                (None, Some(_)) => failed("is unhealthy"),
            }
        }
        Condition::CompletedSuccessfully => {
            let state = owner.wait_for(|_| false);
            match (state.error, state.exit_code) {
                (Some(error), _) => Err(error),
                (None, 0) => Ok(()),
                (None, code) => {
                    Err(format!("service {:?} didn't complete successfully: exit {code}", dependency.service))
                }
            }
        }
    }
}
