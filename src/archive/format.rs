//! The formats of archives, by the names that people know.

/// A format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// tar, packed or not.
    Tar(Packing),
    /// zip.
    Zip,
}

/// How a tar archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl ArchiveFormat {
    /// All of them by name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("tar", Self::Tar(Packing::None)),
        ("tar.gz", Self::Tar(Packing::Gzip)),
        ("tar.zst", Self::Tar(Packing::Zstd)),
        ("zip", Self::Zip),
    ];

    /// The format of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = match name {
            "tgz" => "tar.gz",
            "tzst" => "tar.zst",
            name => name,
        };
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format)
    }
}

impl Packing {
    /// What a file's name ends with.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => ".tar",
            Self::Gzip => ".tar.gz",
            Self::Zstd => ".tar.zst",
        }
    }
}
