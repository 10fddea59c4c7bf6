//! Modes as numbers of Go's `FileMode`, which consumers of the export expect (<https://pkg.go.dev/io/fs#FileMode>).

use crate::tree::{DIRECTORY, Entry, SYMLINK};

const MODE_DIR: u32 = 1 << 31;
const MODE_SYMLINK: u32 = 1 << 27;
const MODE_DEVICE: u32 = 1 << 26;
const MODE_PIPE: u32 = 1 << 25;
const MODE_SETUID: u32 = 1 << 23;
const MODE_SETGID: u32 = 1 << 22;
const MODE_CHAR_DEVICE: u32 = 1 << 21;
const MODE_STICKY: u32 = 1 << 20;

/// The kind and mode of `entry` as one number.
pub(crate) fn go_mode(entry: &Entry) -> u32 {
    let kind = match entry.type_flag {
        DIRECTORY => MODE_DIR,
        SYMLINK => MODE_SYMLINK,
        b'3' => MODE_DEVICE | MODE_CHAR_DEVICE,
        b'4' => MODE_DEVICE,
        b'6' => MODE_PIPE,
        _ => 0,
    };
    let special = [(0o4000, MODE_SETUID), (0o2000, MODE_SETGID), (0o1000, MODE_STICKY)];
    let special = special.iter().filter(|(bit, _)| entry.mode & bit != 0).fold(0, |bits, (_, go)| bits | go);
    kind | special | (entry.mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_go() {
        for (type_flag, mode, expected) in [
            (b'0', 0o755, 493),
            (b'5', 0o755, 2_147_484_141),
            (b'2', 0o777, 134_218_239),
            (b'0', 0o4755, 8_389_101),
            (b'5', 0o1777, 2_148_532_735),
            (b'3', 0o600, 69_206_400),
        ] {
            assert_eq!(go_mode(&Entry { type_flag, mode, ..Entry::default() }), expected);
        }
    }
}
