//! The variables that programs and expansions see while a stage is lowered, in the order in which they were set.

use std::collections::{BTreeMap, HashMap};

/// Variables by name and by order, so that neither takes a walk over all: a file may set a hundred thousand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// Name and value, by when they were set.
    in_order: BTreeMap<usize, (String, String)>,
    times: HashMap<String, usize>,
    n_set: usize,
}

impl Environment {
    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.times.get(name).map(|time| self.in_order[time].1.as_str())
    }

    /// Sets a variable, which thereby becomes the last.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if let Some(earlier) = self.times.insert(name.to_owned(), self.n_set) {
            self.in_order.remove(&earlier);
        }
        self.in_order.insert(self.n_set, (name.to_owned(), value.to_owned()));
        self.n_set += 1;
    }

    /// Names and values, the one set last at the end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.in_order.values().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn what_is_set_again_goes_to_the_end() {
        let mut environment = Environment::default();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
            environment.set(name, value);
        }
        assert_eq!(environment.iter().collect::<Vec<_>>(), [("b", "2"), ("a", "4")]);
        assert_eq!((environment.get("a"), environment.get("c")), (Some("4"), None));
    }
}
