//! Which ids an unprivileged user may use: the lines of `/etc/subuid` and `/etc/subgid` (subuid(5)).

/// A range of ids of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubordinateIds {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// The ranges of one user, who is named by login name or number. Lines that are no ranges are skipped, as
/// `newuidmap` skips them.
pub(crate) fn subordinate_ids(text: &str, user: &str, uid: u32) -> Vec<SubordinateIds> {
    let uid = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let (owner, range) = line.trim().split_once(':')?;
            let (first, count) = range.split_once(':')?;
            (owner == user || owner == uid).then_some(())?;
            Some(SubordinateIds { first: first.parse().ok()?, count: count.parse().ok()? })
        })
        .filter(|ids| ids.count > 0)
        .collect()
}

/// The arguments of `newuidmap` after the process: id 0 is the user, 1 and up are the subordinate ids.
pub(crate) fn map_arguments(own_id: u32, subordinate: &[SubordinateIds]) -> Vec<String> {
    let mut arguments = vec![0, u64::from(own_id), 1];
    let mut next_inside = 1;
    for SubordinateIds { first, count } in subordinate {
        arguments.extend([next_inside, u64::from(*first), u64::from(*count)]);
        next_inside += u64::from(*count);
    }
    arguments.iter().map(u64::to_string).collect()
}

/// The map that gives a new namespace the same ids as the one whose map this is. A line may not span two of the outer
/// map's, so each of those gets its own (user_namespaces(7)).
pub(crate) fn identity_map(map: &str) -> String {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let (first, count) = (fields.next()?, fields.nth(1)?);
        Some(format!("{first} {first} {count}\n"))
    };
    map.lines().filter_map(line).collect()
}

/// How many ids a namespace has, from the text of its `/proc/self/uid_map`.
pub(crate) fn count_mapped(uid_map: &str) -> u64 {
    uid_map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

/// The map that gives a namespace below this one the same ids under the same numbers, from the text of this one's.
pub(crate) fn same_ids(own_map: &str) -> String {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let (first, count) = (fields.next()?, fields.nth(1)?);
        Some(format!("{first} {first} {count}\n"))
    };
    own_map.lines().filter_map(line).collect()
}

/// The login name of a user, from the text of `/etc/passwd`.
pub(crate) fn login_name(passwd: &str, uid: u32) -> Option<&str> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "# comment\nalice:100000:65536\nbob:1:0\n1000:300000:10\nalice:broken\n alice:500000:5 \n";

    #[test]
    fn a_user_is_found_by_name_and_number() {
        let ranges = subordinate_ids(SUBUID, "alice", 1000);
        let expected = [(100_000, 65536), (300_000, 10), (500_000, 5)];
        assert_eq!(ranges, expected.map(|(first, count)| SubordinateIds { first, count }));
    }

    #[test]
    fn an_empty_range_is_none() {
        assert!(subordinate_ids(SUBUID, "bob", 7).is_empty());
        assert!(subordinate_ids(SUBUID, "ali", 8).is_empty());
    }

    #[test]
    fn inside_the_ranges_follow_one_another() {
        let ranges = [SubordinateIds { first: 100_000, count: 10 }, SubordinateIds { first: 300_000, count: 5 }];
        assert_eq!(map_arguments(1000, &ranges).join(" "), "0 1000 1 1 100000 10 11 300000 5");
    }

    #[test]
    fn every_line_of_a_map_is_kept_apart() {
        assert_eq!(identity_map("         0       1000          1\n 1 100000 65536\n"), "0 0 1\n1 1 65536\n");
    }

    #[test]
    fn mapped_ids_are_counted() {
        assert_eq!(count_mapped("         0          0 4294967295\n"), 4_294_967_295);
        assert_eq!(count_mapped("0 1000 1\n1 100000 65536\n"), 65537);
    }

    #[test]
    fn the_same_ids_have_the_same_numbers() {
        assert_eq!(same_ids("         0       1000          1\n 1 100000 65536\n"), "0 0 1\n1 1 65536\n");
    }

    #[test]
    fn login_names_come_from_the_passwd_file() {
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n";
        assert_eq!(login_name(passwd, 1000), Some("alice"));
        assert_eq!(login_name(passwd, 10), None);
    }
}
