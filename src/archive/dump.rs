//! A part of a snapshot as an archive, without a manifest.

use std::collections::HashMap;
use std::io::Write;

use crate::archive::content::{Abilities, Packed, Packer, Piece, read};
use crate::archive::entry::FormatWriter;
use crate::archive::error::ArchiveError;
use crate::archive::format::ArchiveFormat;
use crate::archive::packing;
use crate::archive::tar::TarWriter;
use crate::archive::zip::ZipWriter;
use crate::base::progress::Monitor;
use crate::dag::{Content, Kind, Node};
use crate::repository::Repository;

/// Writes a node and everything below it as an archive. A directory's content has
/// names relative to it, a file has `name`.
///
/// # Errors
/// Fails if the repository cannot be read, the output cannot be written, the
/// format cannot hold a single file of this kind, or it was cancelled.
pub fn dump(
    repository: &Repository,
    name: &[u8],
    node: &Node,
    format: ArchiveFormat,
    output: impl Write,
    monitor: &dyn Monitor,
) -> Result<Packed, ArchiveError> {
    let failed = ArchiveError::Output;
    match format {
        ArchiveFormat::Tar(packing) => {
            let packer = packing::Packer::new(packing, output).map_err(failed)?;
            let mut writer = TarWriter::new(packer);
            // As `tar -C directory .` has it.
            let top = if matches!(node.kind, Kind::Directory(_)) { b"." } else { name };
            let packed = pack(repository, top, node, Abilities::Tar, &mut writer, monitor)?;
            writer.finish().and_then(|packer| packer.finish(false)).map_err(failed)?;
            Ok(packed)
        }
        ArchiveFormat::Zip => {
            let mut writer = ZipWriter::new(output);
            let top = if matches!(node.kind, Kind::Directory(_)) { b"" } else { name };
            let packed = pack(repository, top, node, Abilities::Zip, &mut writer, monitor)?;
            writer.finish().and_then(|mut output| output.flush()).map_err(failed)?;
            Ok(packed)
        }
    }
}

fn pack(
    repository: &Repository,
    top: &[u8],
    node: &Node,
    abilities: Abilities,
    writer: &mut dyn FormatWriter,
    monitor: &dyn Monitor,
) -> Result<Packed, ArchiveError> {
    let mut told = |_: &[u8], _, _: Option<&_>| Ok(());
    let mut packer = Packer {
        repository,
        monitor,
        writer,
        abilities,
        is_hashing: false,
        told: &mut told,
        links: HashMap::new(),
        packed: Packed::default(),
    };
    packer.pack(top, node)?;
    Ok(packer.packed)
}

/// Writes the bytes of a file, zeros for holes.
///
/// # Errors
/// As [`dump`].
pub fn dump_file(
    repository: &Repository,
    content: &Content,
    output: &mut dyn Write,
    monitor: &dyn Monitor,
) -> Result<(), ArchiveError> {
    let zeros = vec![0; 64 << 10];
    read(repository, content, &mut |piece| {
        if monitor.cancelled() {
            return Err(ArchiveError::Cancelled);
        }
        let bytes = match piece {
            Piece::Data(bytes) => output.write_all(bytes).map(|()| bytes.len() as u64),
            Piece::Hole(bytes) => {
                let mut left = bytes;
                let mut written = Ok(());
                while left > 0 && written.is_ok() && !monitor.cancelled() {
                    let piece = left.min(zeros.len() as u64);
                    written = output.write_all(zeros.get(..piece as usize).unwrap_or_default());
                    left -= piece;
                }
                written.map(|()| bytes)
            }
        };
        monitor.advance(0, bytes.map_err(ArchiveError::Output)?);
        Ok(())
    })?;
    output.flush().map_err(ArchiveError::Output)
}
