//! Directory nodes: leaf pages of entries, index pages over them.
//!
//! ```text
//! leaf  = 1 | owners: count, (uid, gid, user, group)... | count, (name, node)...
//! index = 2 | level | count, (last name, tree reference)...
//! tree reference = id (32 bytes) | totals (6 numbers)
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::codec::{DecodeError, Decoder, Encoder};
use crate::base::id::{IdScheme, TreeId};
use crate::base::limits::{NAME_BYTES_MAX, TREE_LEVELS_MAX, TREE_PAGE_ITEMS_MAX};
use crate::base::name::EntryName;
use crate::dag::node::{Entry, Kind, Node, Owner};
use crate::dag::record::{DagError, Hint, RecordDecoder, RecordEncoder, Target};
use crate::dag::xattr_classes::XattrClasses;

pub(crate) const LEAF: u8 = 1;
pub(crate) const INDEX: u8 = 2;
const OBJECT: &str = "tree";

/// A directory node, or a page of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Entries by rising name.
    Leaf(Vec<Entry>),
    /// Pages by rising name.
    Index {
        /// How far above the leaves; the pages of level 1 are leaves.
        level: u8,
        /// The pages, all one level below.
        branches: Vec<Branch>,
    },
}

/// A page under an index page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The last name in the page.
    pub last: EntryName,
    /// The page.
    pub tree: TreeRef,
}

/// A reference to a directory node or page, with what lies below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeRef {
    /// The node.
    pub id: TreeId,
    /// Where it lies.
    pub hint: Hint,
    /// What it holds.
    pub totals: Totals,
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries in the directory itself.
    pub entries: u64,
    /// Directories in the directory itself.
    pub subdirectories: u64,
    /// Files of any kind but directories, all the way down.
    pub files: u64,
    /// Directories, all the way down, itself not counted.
    pub directories: u64,
    /// Bytes of regular files, all the way down.
    pub bytes: u64,
    /// The kinds of extended attributes of what is in it, all the way down.
    pub xattrs: XattrClasses,
}

impl Totals {
    /// Counts an entry.
    pub fn add_entry(&mut self, node: &Node) {
        self.entries = self.entries.saturating_add(1);
        self.xattrs = self.xattrs.and(XattrClasses::of_node(node));
        match &node.kind {
            Kind::Directory(tree) => {
                self.subdirectories = self.subdirectories.saturating_add(1);
                self.directories =
                    self.directories.saturating_add(tree.totals.directories).saturating_add(1);
                self.files = self.files.saturating_add(tree.totals.files);
                self.bytes = self.bytes.saturating_add(tree.totals.bytes);
                self.xattrs = self.xattrs.and(tree.totals.xattrs);
            }
            Kind::File(content) => {
                self.files = self.files.saturating_add(1);
                self.bytes = self.bytes.saturating_add(content.size);
            }
            _ => self.files = self.files.saturating_add(1),
        }
    }

    /// Counts a page.
    pub fn add_page(&mut self, page: &Self) {
        self.entries = self.entries.saturating_add(page.entries);
        self.subdirectories = self.subdirectories.saturating_add(page.subdirectories);
        self.files = self.files.saturating_add(page.files);
        self.directories = self.directories.saturating_add(page.directories);
        self.bytes = self.bytes.saturating_add(page.bytes);
        self.xattrs = self.xattrs.and(page.xattrs);
    }

    /// Appends the totals to a record.
    pub fn encode(&self, encoder: &mut Encoder) {
        let Self { entries, subdirectories, files, directories, bytes, xattrs } = *self;
        for number in [entries, subdirectories, files, directories, bytes, xattrs.to_number()] {
            encoder.number(number);
        }
    }

    /// Takes totals from a record.
    ///
    /// # Errors
    /// Fails if they are not in their one encoding.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            entries: decoder.number()?,
            subdirectories: decoder.number()?,
            files: decoder.number()?,
            directories: decoder.number()?,
            bytes: decoder.number()?,
            xattrs: XattrClasses::decode(decoder)?,
        })
    }
}

impl TreeRef {
    pub(crate) fn encode(&self, encoder: &mut RecordEncoder) {
        encoder.reference(Target::Tree, self.id.as_bytes(), self.hint);
        self.totals.encode(&mut encoder.body);
    }

    pub(crate) fn decode(decoder: &mut RecordDecoder<'_>) -> Result<Self, DecodeError> {
        let (digest, hint) = decoder.reference(Target::Tree)?;
        let totals = Totals::decode(&mut decoder.body)?;
        Ok(Self { id: TreeId::from_digest(digest), hint, totals })
    }
}

impl Tree {
    /// Decodes and checks a page that was stored under `id`.
    ///
    /// # Errors
    /// Fails if the bytes do not hash to the id or are no canonical encoding.
    pub fn decode(
        ids: &IdScheme,
        id: &TreeId,
        canonical: &[u8],
        hints: &[u8],
    ) -> Result<Self, DagError> {
        if ids.tree(canonical) != *id {
            return Err(DagError::WrongHash { object: OBJECT, id: id.to_string() });
        }
        let mut decoder = RecordDecoder::new(canonical, hints);
        let tree = decode_page(&mut decoder).map_err(DagError::malformed(OBJECT))?;
        decoder.body.finish().map_err(DagError::malformed(OBJECT))?;
        Ok(tree)
    }

    /// The trees that this page names: its pages, or its subdirectories.
    pub fn trees(&self) -> impl Iterator<Item = &TreeRef> {
        let (entries, branches): (&[Entry], &[Branch]) = match self {
            Self::Leaf(entries) => (entries, &[]),
            Self::Index { branches, .. } => (&[], branches),
        };
        let subdirectories = entries.iter().filter_map(|entry| match &entry.node.kind {
            Kind::Directory(tree) => Some(tree),
            _ => None,
        });
        subdirectories.chain(branches.iter().map(|branch| &branch.tree))
    }
}

fn decode_page(decoder: &mut RecordDecoder<'_>) -> Result<Tree, DecodeError> {
    match decoder.body.byte()? {
        LEAF => decode_leaf(decoder).map(Tree::Leaf),
        INDEX => decode_index(decoder),
        _ => Err(decoder.body.error("a page is of an unknown form")),
    }
}

fn decode_leaf(decoder: &mut RecordDecoder<'_>) -> Result<Vec<Entry>, DecodeError> {
    let owners = decode_owners(decoder)?;
    let count = decoder.body.count(TREE_PAGE_ITEMS_MAX, "the number of entries")?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let mut owners_seen = 0;
    for _ in 0..count {
        let name = decode_name(decoder)?;
        if entries.last().is_some_and(|last| last.name >= name) {
            return Err(decoder.body.error("names are not in rising order"));
        }
        let node = Node::decode(&owners, decoder)?;
        let owner = owners.iter().position(|owner| Arc::ptr_eq(owner, &node.owner));
        match owner {
            Some(owner) if owner < owners_seen => {}
            Some(owner) if owner == owners_seen => owners_seen += 1,
            _ => return Err(decoder.body.error("owners are not in order of first use")),
        }
        entries.push(Entry { name, node });
    }
    if owners_seen != owners.len() {
        return Err(decoder.body.error("an owner is never used"));
    }
    Ok(entries)
}

fn decode_owners(decoder: &mut RecordDecoder<'_>) -> Result<Vec<Arc<Owner>>, DecodeError> {
    let count = decoder.body.count(TREE_PAGE_ITEMS_MAX, "the number of owners")?;
    let mut owners = Vec::with_capacity(count);
    let mut distinct = HashSet::with_capacity(count);
    for _ in 0..count {
        let owner = Arc::new(Owner::decode(decoder)?);
        if !distinct.insert(owner.clone()) {
            return Err(decoder.body.error("an owner is listed twice"));
        }
        owners.push(owner);
    }
    Ok(owners)
}

fn decode_index(decoder: &mut RecordDecoder<'_>) -> Result<Tree, DecodeError> {
    let level = decoder.body.byte()?;
    if level == 0 || level > TREE_LEVELS_MAX {
        return Err(decoder.body.error("an index page has an impossible level"));
    }
    let count = decoder.body.count(TREE_PAGE_ITEMS_MAX, "the number of pages")?;
    if count < 2 {
        return Err(decoder.body.error("an index page has fewer than two pages"));
    }
    let mut branches: Vec<Branch> = Vec::with_capacity(count);
    let mut distinct = HashSet::with_capacity(count);
    for _ in 0..count {
        let last = decode_name(decoder)?;
        if branches.last().is_some_and(|before| before.last >= last) {
            return Err(decoder.body.error("pages are not in rising order"));
        }
        let tree = TreeRef::decode(decoder)?;
        // Names rise from page to page, so none can come twice.
        if !distinct.insert(tree.id) {
            return Err(decoder.body.error("an index page names a page twice"));
        }
        branches.push(Branch { last, tree });
    }
    Ok(Tree::Index { level, branches })
}

fn decode_name(decoder: &mut RecordDecoder<'_>) -> Result<EntryName, DecodeError> {
    let bytes = decoder.body.bytes(NAME_BYTES_MAX, "a name")?;
    EntryName::new(bytes).map_err(|error| decoder.body.error(error.to_string()))
}
