//! What is asked of the owner of a stack, and what it says. See `containers/control.rs` for how.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::containers::Config;
use crate::containers::control::End;
use crate::containers::log::Stream;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Make it so that these containers run.
    Up { plan: Plan, options: UpOptions },
    /// Run one container more, whose input and output come with the request.
    RunOne { plan: Plan, container: Box<Planned>, ends: Vec<End> },
    /// End the containers of these services, those first that no other depends on; all if none is named.
    Stop { services: Vec<String>, timeout_s: Option<u64> },
}

/// The containers of a project, and its networks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// By key.
    pub(crate) networks: BTreeMap<String, PlannedNetwork>,
    /// Those to start.
    pub(crate) containers: Vec<Planned>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedNetwork {
    /// `a.b.c.d/n`; `None` for any.
    pub(crate) subnet: Option<(Ipv4Addr, u8)>,
    /// The world outside is out of reach.
    pub(crate) is_internal: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) service: String,
    pub(crate) config: Config,
    /// Changes with everything that a container is made from.
    pub(crate) hash: String,
    pub(crate) place: NetworkPlace,
    pub(crate) depends_on: Vec<Dependency>,
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NetworkPlace {
    /// What its request says: the host's network, or none.
    AsAsked,
    /// In networks of the project.
    In(Vec<Attachment>),
    /// In that of the first container of a service.
    Of(String),
}

/// A network of the project that a container is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) network: String,
    /// What the others call it there.
    pub(crate) names: Vec<String>,
    pub(crate) address: Option<Ipv4Addr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) service: String,
    pub(crate) condition: Condition,
    pub(crate) is_required: bool,
    /// It is started again when the other one is replaced.
    pub(crate) restarts: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Condition {
    #[default]
    #[serde(rename = "service_started")]
    Started,
    #[serde(rename = "service_healthy")]
    Healthy,
    #[serde(rename = "service_completed_successfully")]
    CompletedSuccessfully,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Condition::Started => "service_started",
            Condition::Healthy => "service_healthy",
            Condition::CompletedSuccessfully => "service_completed_successfully",
        })
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct UpOptions {
    /// The stack ends when who asked goes; what it writes is told.
    pub(crate) attaches: bool,
    pub(crate) recreate: Recreate,
    /// Seconds for containers that are replaced.
    pub(crate) timeout_s: Option<u64>,
    /// Wait until all are healthy, or run where nobody asks how they are.
    pub(crate) waits: bool,
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Recreate {
    #[default]
    Changed,
    All,
    Nothing,
}

/// What the owner says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The request has arrived, and will be answered. Always the first word.
    Heard,
    /// What becomes of a container: `Started`.
    Step {
        container: String,
        step: String,
    },
    Remark(String),
    Line {
        container: String,
        stream: Stream,
        text: String,
        time: jiff::Timestamp,
    },
    /// A container has ended.
    Exited {
        container: String,
        service: String,
        exit_code: u8,
    },
    /// What was asked has been done; more may be said to who is attached. The code is that of the one container more.
    Done {
        exit_code: u8,
    },
    Failed {
        message: String,
        exit_code: u8,
    },
    /// No container of the stack runs any more.
    Over,
}
