//! The control group of a step that has limits, and what to say when they were too tight.

use slipway_graph::request::StepLimits;
use slipway_sandbox::{CallError, ControlGroup, LimitError, Limits};

/// The group of one step; `None` for steps without limits, which need none.
pub(crate) fn group(limits: &StepLimits) -> Result<Option<ControlGroup>, LimitError> {
    if limits.is_none() {
        return Ok(None);
    }
    let StepLimits {
        memory_bytes,
        memory_and_swap_bytes,
        cpu_shares,
        cpu_period_us,
        cpu_quota_us,
        cpuset_cpus,
        cpuset_mems,
        pids,
        cgroup_parent,
    } = limits.clone();
    let limits = Limits {
        memory_bytes,
        memory_and_swap_bytes,
        cpu_shares,
        cpu_period_us,
        cpu_quota_us,
        cpuset_cpus,
        cpuset_mems,
        pids,
    };
    ControlGroup::create(cgroup_parent.as_deref(), &limits).map(Some)
}

/// What a step needs of its group to enter it.
pub(crate) fn entrances(group: Option<&ControlGroup>) -> Result<Vec<std::os::fd::OwnedFd>, CallError> {
    group.map_or_else(|| Ok(Vec::new()), ControlGroup::entrances)
}

/// How much memory a step had used when the kernel ended some of its processes; `None` if it did not.
pub(crate) fn out_of_memory(group: Option<&ControlGroup>) -> Option<String> {
    let group = group.filter(|group| group.n_killed_for_memory() > 0)?;
    let peak = group.peak_memory_bytes().map(|bytes| format!(" after it had used {}", mebibytes(bytes)));
    Some(format!("the kernel's OOM killer ended it{}", peak.unwrap_or_default()))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
