//! Packages of Alpine: `/lib/apk/db/installed`, a letter a field (apk-package(5), "installed database").

use crate::{Ecosystem, Package};

pub(crate) fn packages(text: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(package).collect()
}

fn package(paragraph: &str) -> Option<Package> {
    let field = |letter: char| {
        let value = |line: &'_ str| line.strip_prefix(letter)?.strip_prefix(':').map(str::to_owned);
        paragraph.lines().find_map(value)
    };
    let mut package = Package::new(Ecosystem::Apk, &field('P')?, &field('V')?);
    package.architecture = field('A');
    package.license = field('L');
    package.source = field('o').filter(|origin| *origin != package.name);
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_letters() {
        let text = "C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld.so\n\n\
                    P:busybox-binsh\nV:1.36.1-r5\no:busybox\n\nV:no-name\n";
        let found = packages(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].license.as_deref(), Some("MIT"));
        assert_eq!((found[0].source.as_deref(), found[1].source.as_deref()), (None, Some("busybox")));
    }
}
