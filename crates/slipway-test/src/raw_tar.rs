//! Answers one question: how is an archive made that no decent writer would make?
//!
//! Header by header, every field of which may be nonsense; only the checksums are right, since a wrong one would stop a
//! reader before it gets to see the rest.

/// One header block and its data, every field of which may be nonsense.
#[derive(Clone)]
pub struct Raw {
    header: [u8; 512],
    data: Vec<u8>,
}

impl Raw {
    /// A well-formed entry of type `flag`.
    pub fn new(flag: u8, path: &[u8]) -> Raw {
        let mut raw = Raw { header: [0; 512], data: Vec::new() };
        raw.header[257..265].copy_from_slice(b"ustar\x0000");
        raw.header[156] = flag;
        raw.field(0, &path[..path.len().min(100)])
            .field(100, b"0000755\0")
            .field(108, b"0000000\0")
            .field(116, b"0000000\0")
            .field(124, b"00000000000\0")
            .field(136, b"00000000005\0")
    }

    /// A file.
    pub fn file(path: &[u8], data: &[u8]) -> Raw {
        Raw::new(b'0', path).data(data)
    }

    /// A symbolic link.
    pub fn symlink(path: &[u8], target: &[u8]) -> Raw {
        Raw::new(b'2', path).field(157, target)
    }

    /// A hard link.
    pub fn hard_link(path: &[u8], target: &[u8]) -> Raw {
        Raw::new(b'1', path).field(157, target)
    }

    /// An extended header with these records, their lengths being right.
    pub fn records(records: &[(&str, &[u8])]) -> Raw {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|length| length.to_string().len() + rest == *length);
            let length = length.expect("because a few digits more are always enough");
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        Raw::new(b'x', b"PaxHeaders.0/x").data(&data)
    }

    /// Sets bytes of the header.
    pub fn field(mut self, at: usize, bytes: &[u8]) -> Raw {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets data and size.
    pub fn data(self, data: &[u8]) -> Raw {
        let size = format!("{:011o}\0", data.len());
        let mut raw = self.field(124, size.as_bytes());
        raw.data = data.to_vec();
        raw
    }
}

/// An archive of `entries` with right checksums, and two empty blocks.
pub fn archive(entries: Vec<Raw>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Raw { mut header, data } in entries {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}
