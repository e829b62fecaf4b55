//! What `create` is asked to do, made of what the command line and the profile
//! say.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::limits::MANIFEST_LIST_MAX;
use crate::base::time::{Timestamp, parse_expression};
use crate::cli::context::{self, Context};
use crate::cli::create_options::{CreateArguments, CreateOptions};
use crate::cli::exit::CommandError;
use crate::cli::output::path_text;
use crate::ingest::{
    CreateRequest, Detection, Input, Marker, SelectionOptions, StreamRequest, StreamSource,
};
use crate::patterns::check_pattern;
use crate::repository::Repository;

/// Readers for each processor: while some wait for the disk, others work.
const READERS_PER_PROCESSOR: usize = 4;

/// Makes the request. What needs the repository is added by [`complete`].
pub(crate) fn request(
    context: &Context,
    arguments: &CreateArguments,
    options: CreateOptions,
    sources: Vec<PathBuf>,
) -> Result<CreateRequest, CommandError> {
    let time = match &arguments.time {
        None => context.now,
        Some(text) => parse_expression(text, context.now)
            .ok_or_else(|| CommandError::Usage(format!("--time {text:?} is no time")))?,
    };
    let selection = selection(&options)?;
    let (input, source_names) = input(arguments, &options, sources)?;
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    Ok(CreateRequest {
        input,
        source_names,
        selection,
        detection: Detection {
            force: options.force,
            ignore_inode: options.ignore_inode,
            ignore_ctime: options.ignore_ctime,
        },
        host: options.host.unwrap_or_else(context::host),
        user: context::user(),
        description: options.description.unwrap_or_default(),
        tags: options.tag,
        time,
        program: concat!("icecore ", env!("CARGO_PKG_VERSION")).to_owned(),
        parent: None,
        with_atime: options.with_atime,
        read_concurrency: options
            .read_concurrency
            .map_or(processors * READERS_PER_PROCESSOR, usize::from),
        bytes_per_second: options.limit_rate,
        compression: options.compression.unwrap_or_default(),
    })
}

/// Finds the parent that was named.
pub(crate) fn complete(
    request: CreateRequest,
    arguments: &CreateArguments,
    repository: &Repository,
    now: Timestamp,
) -> Result<CreateRequest, CommandError> {
    let Some(name) = &arguments.parent else { return Ok(request) };
    let (parent, _) = repository.find_snapshot(name, now)?;
    Ok(CreateRequest { parent: Some(parent), ..request })
}

fn selection(options: &CreateOptions) -> Result<SelectionOptions, CommandError> {
    let mut markers = options.exclude_if_present.clone();
    markers.extend(options.exclude_caches.then(Marker::caches));
    Ok(SelectionOptions {
        excludes: with_files(&options.exclude, &options.exclude_file)?,
        excludes_ignoring_case: with_files(&options.iexclude, &options.iexclude_file)?,
        includes: with_files(&options.include, &[])?,
        markers,
        larger_than: options.exclude_larger_than,
        nodump: options.exclude_nodump,
        one_file_system: options.one_file_system,
        ignore_files: !options.no_ignore_files,
    })
}

fn with_files(patterns: &[String], files: &[PathBuf]) -> Result<Vec<String>, CommandError> {
    // Before any hook runs and any lock is taken.
    for pattern in patterns {
        check_pattern(pattern).map_err(|error| CommandError::Usage(error.to_string()))?;
    }
    let mut patterns = patterns.to_vec();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| {
            let shown = path_text(file);
            CommandError::Usage(format!("Cannot read the patterns in {shown}: {error}"))
        })?;
        for (index, line) in text.lines().enumerate() {
            check_pattern(line).map_err(|error| {
                let (shown, number) = (path_text(file), index + 1);
                CommandError::Usage(format!("In line {number} of {shown}, {error}"))
            })?;
            patterns.push(line.to_owned());
        }
    }
    Ok(patterns)
}

fn input(
    arguments: &CreateArguments,
    options: &CreateOptions,
    mut sources: Vec<PathBuf>,
) -> Result<(Input, Vec<Vec<u8>>), CommandError> {
    if arguments.stdin || arguments.from_command {
        if let Some(list) = options.files_from.iter().chain(&options.files_from0).next() {
            let shown = path_text(list);
            let problem = format!("A stream is saved alone, not with the sources in {shown}");
            return Err(CommandError::Usage(problem));
        }
        let path = arguments.stdin_filename.clone().unwrap_or_else(|| PathBuf::from("stdin"));
        let names = vec![path.as_os_str().as_bytes().to_vec()];
        let source = stream_source(arguments)?;
        return Ok((Input::Stream(StreamRequest { source, path }), names));
    }
    // Without --from-command what is behind `--` are sources like all others.
    sources.extend(arguments.command.iter().map(PathBuf::from));
    let mut names: Vec<_> =
        sources.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    let lists = options.files_from.iter().map(|file| (file, b'\n'));
    let lists = lists.chain(options.files_from0.iter().map(|file| (file, 0)));
    for (file, end) in lists {
        let listed = listed_sources(file, end)?;
        if names.len() + listed.len() > MANIFEST_LIST_MAX {
            names.push([b"@", file.as_os_str().as_bytes()].concat());
        } else {
            names.extend(listed.iter().map(|path| path.as_os_str().as_bytes().to_vec()));
        }
        sources.extend(listed);
    }
    if sources.is_empty() {
        return Err(CommandError::Usage(
            "Nothing to save: name files or directories, or see `icecore create --help`".to_owned(),
        ));
    }
    let working_directory =
        env::current_dir().map_err(CommandError::io("find the working directory"))?;
    Ok((Input::Files { sources, working_directory }, names))
}

fn stream_source(arguments: &CreateArguments) -> Result<StreamSource, CommandError> {
    if arguments.from_command {
        if arguments.command.is_empty() {
            let problem = "--from-command needs a command behind `--`";
            return Err(CommandError::Usage(problem.to_owned()));
        }
        return Ok(StreamSource::Command(arguments.command.clone()));
    }
    if let Some(word) = arguments.command.first() {
        let shown = path_text(Path::new(word));
        let problem = format!("{shown} is left over: --stdin saves standard input alone");
        return Err(CommandError::Usage(problem));
    }
    let stdin = io::stdin();
    let input = stdin.as_fd().try_clone_to_owned();
    let input = input.map_err(CommandError::io("read standard input"))?;
    Ok(StreamSource::File(Arc::new(File::from(input))))
}

/// The paths in a file, each ended by a byte.
fn listed_sources(file: &Path, end: u8) -> Result<Vec<PathBuf>, CommandError> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(file)
    };
    let bytes = bytes.map_err(|error| {
        let shown = path_text(file);
        CommandError::Usage(format!("Cannot read the sources in {shown}: {error}"))
    })?;
    let paths = bytes.split(|byte| *byte == end).filter(|path| !path.is_empty());
    Ok(paths.map(|path| PathBuf::from(OsStr::from_bytes(path).to_owned())).collect())
}
