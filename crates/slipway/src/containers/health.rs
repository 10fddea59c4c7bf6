//! Is a container well? A program in it is asked now and then (`HEALTHCHECK`, `healthcheck:`).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use slipway_engine::{Guest, GuestEnds, GuestHost};
use slipway_oci::{Healthcheck, RuntimeConfig};

use super::owner::Owner;

/// How well a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

/// What is asked, and how often. What is `None` the image says, else Docker's defaults hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HealthTest {
    /// `["CMD", …]`, `["CMD-SHELL", script]` or `["NONE"]`; empty for what the image says.
    pub(crate) test: Vec<String>,
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) start_period: Option<Duration>,
    pub(crate) start_interval: Option<Duration>,
    pub(crate) retries: Option<u32>,
}

/// The same with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    args: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Check {
    /// What is to be asked; `None` if nothing is.
    pub(crate) fn of(test: Option<&HealthTest>, image: &RuntimeConfig) -> Option<Check> {
        let (none, absent) = (HealthTest::default(), Healthcheck::default());
        let (test, image_says) = (test.unwrap_or(&none), image.healthcheck.as_ref().unwrap_or(&absent));
        let words = if test.test.is_empty() { &image_says.test } else { &test.test };
        let shell = match image.shell.as_slice() {
            [] => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
            shell => shell.to_vec(),
        };
        let args = match words.split_first() {
            Some((kind, args)) if kind == "CMD" && !args.is_empty() => args.to_vec(),
            Some((kind, [script])) if kind == "CMD-SHELL" => [shell, vec![script.clone()]].concat(),
            _ => return None,
        };
        let time = |own: Option<Duration>, of_image: i64, default: u64| {
            let of_image = u64::try_from(of_image).ok().filter(|nanoseconds| *nanoseconds > 0);
            own.or(of_image.map(Duration::from_nanos)).unwrap_or(Duration::from_secs(default))
        };
        let of_image = u32::try_from(image_says.retries).ok().filter(|retries| *retries > 0);
        Some(Check {
            args,
            interval: time(test.interval, image_says.interval, 30),
            timeout: time(test.timeout, image_says.timeout, 30),
            start_period: time(test.start_period, image_says.start_period, 0),
            start_interval: time(test.start_interval, image_says.start_interval, 5),
            retries: test.retries.or(of_image).unwrap_or(3).max(1),
        })
    }

    /// Whether the answer is yes. Who does not answer in time is killed.
    fn is_well(&self, host: &GuestHost) -> bool {
        let guest = Guest { args: self.args.clone(), ..Guest::default() };
        let Ok(running) = host.start(&guest, GuestEnds::default()) else { return false };
        let running = Arc::new(running);
        thread::scope(|scope| {
            let (over, is_over) = crossbeam_channel::bounded::<()>(0);
            let (watched, patience) = (Arc::clone(&running), self.timeout);
            scope.spawn(move || {
                if is_over.recv_timeout(patience) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                    // It may have ended by itself in this moment.
                    let _ = watched.kill();
                }
            });
            let status = running.wait();
            drop(over);
            status.is_ok_and(|status| status.is_success())
        })
    }
}

/// Asks until the program that `host` is about has ended.
pub(super) fn watch(owner: &Owner, check: &Check, host: &GuestHost, run: u64) {
    let began = Instant::now();
    let (mut n_failures, mut health) = (0, Health::Starting);
    loop {
        let is_starting = health == Health::Starting && began.elapsed() < check.start_period;
        let pause = if is_starting { check.start_interval.min(check.interval) } else { check.interval };
        if !owner.is_running_after(run, pause) {
            return;
        }
        if check.is_well(host) {
            (n_failures, health) = (0, Health::Healthy);
        } else if !(health == Health::Starting && began.elapsed() < check.start_period) {
            n_failures += 1;
            if n_failures >= check.retries {
                health = Health::Unhealthy;
            }
        }
        owner.set_health(run, health);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_the_image_says() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let image = RuntimeConfig {
            healthcheck: Some(Healthcheck {
                test: words("CMD-SHELL true"),
                interval: 2_000_000_000,
                ..Healthcheck::default()
            }),
            ..RuntimeConfig::default()
        };
        let check = Check::of(None, &image).unwrap();
        assert_eq!(
            (check.args.join(" ").as_str(), check.interval, check.retries),
            ("/bin/sh -c true", Duration::from_secs(2), 3)
        );
        let own = HealthTest { test: words("CMD a b"), retries: Some(1), ..HealthTest::default() };
        let check = Check::of(Some(&own), &image).unwrap();
        assert_eq!((check.args, check.interval, check.retries), (words("a b"), Duration::from_secs(2), 1));
        assert_eq!(Check::of(Some(&HealthTest { test: words("NONE"), ..own }), &image), None);
        assert_eq!(Check::of(None, &RuntimeConfig::default()), None);
    }
}
