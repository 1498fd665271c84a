//! Files as tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{TableProvider, UrlTableFactory};
use datafusion::common::utils::datafusion_strsim::normalized_levenshtein;
use datafusion::common::{Result, plan_err};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SessionContext, SessionState};

use super::sized::Sized;

/// Opens files by their paths.
#[derive(Debug)]
pub(super) struct FileTables {
    /// For reading what columns a file has.
    state: SessionState,
}

impl Default for FileTables {
    fn default() -> Self {
        FileTables { state: SessionContext::new().state() }
    }
}

/// The formats, by the ends of names.
const ENDS: &[&str] = &["parquet", "csv", "tsv", "ndjson", "jsonl", "json", "arrow", "arrows"];

fn format_of(end: &str) -> Option<Arc<dyn FileFormat>> {
    Some(match &*end.to_lowercase() {
        "parquet" => Arc::new(ParquetFormat::default()),
        "csv" => Arc::new(Sized(Arc::new(CsvFormat::default().with_has_header(true)))),
        "tsv" => Arc::new(Sized(Arc::new(CsvFormat::default().with_has_header(true).with_delimiter(b'\t')))),
        "ndjson" | "jsonl" | "json" => Arc::new(Sized(Arc::new(JsonFormat::default()))),
        "arrow" | "arrows" => Arc::new(ArrowFormat),
        _ => return None,
    })
}

fn end_of(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

/// What makes a name a pattern.
const PATTERN: [char; 3] = ['*', '?', '['];

fn finds_nothing(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::Plan(text) if text.starts_with("No files found"))
}

/// The end of the files of a directory that have one of ours.
///
/// # Errors
/// There is none, or they have several.
fn end_within(directory: &Path) -> Result<String> {
    let files = fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let ends: BTreeSet<String> = files.filter_map(|file| end_of(&file).map(String::from)).collect();
    let ends: Vec<String> = ends.into_iter().filter(|end| format_of(end).is_some()).collect();
    match &ends[..] {
        [end] => Ok(end.clone()),
        [] => plan_err!("no file in `{}` ends in one of {}", directory.display(), ENDS.join(", ")),
        several => plan_err!(
            "`{}` has files of several formats: {}; name those of one by a pattern, as in '{}/*.{}'",
            directory.display(),
            several.join(", "),
            directory.display().to_string().trim_end_matches('/'),
            several[0]
        ),
    }
}

/// A path as it is, also if there is a pattern in it.
fn literal(path: &str) -> String {
    let escape = |letter: char| if PATTERN.contains(&letter) { format!("[{letter}]") } else { letter.to_string() };
    path.chars().map(escape).collect()
}

impl FileTables {
    /// # Errors
    /// There is no such file, its format is not known, or its columns can't be told.
    pub(super) async fn open(&self, path: &str) -> Result<Arc<dyn TableProvider>> {
        let file = Path::new(path);
        let is_directory = file.is_dir();
        // A file that is there is that file, whatever its name looks like.
        let is_pattern = !file.exists() && path.contains(PATTERN);
        if is_pattern && file.parent().and_then(Path::to_str).is_some_and(|directory| directory.contains(PATTERN)) {
            return plan_err!(
                "`{path}` has a pattern in the name of a directory, and only names of files may have one"
            );
        }
        if !is_pattern && !file.exists() {
            return plan_err!("there is no file `{path}`{}", nearest(file));
        }
        if file.is_file() && file.metadata()?.len() == 0 {
            return plan_err!("`{path}` is empty");
        }
        let end = if is_directory { end_within(file)? } else { end_of(file).unwrap_or_default().to_owned() };
        let Some(format) = format_of(&end) else {
            return plan_err!("what format `{path}` has is told by the end of its name: one of {}", ENDS.join(", "));
        };
        // A directory is one only with a slash behind it.
        let url = match (is_directory, is_pattern) {
            (true, _) => ListingTableUrl::parse(format!("{}/", literal(path.trim_end_matches('/'))))?,
            (false, true) => ListingTableUrl::parse(path)?,
            (false, false) => ListingTableUrl::parse(literal(path))?,
        };
        let options = ListingOptions::new(format).with_file_extension(format!(".{end}"));
        let columns = options.infer_schema(&self.state, &url).await;
        let schema = match columns {
            Ok(schema) => schema,
            Err(error) if is_pattern && finds_nothing(&error) => return plan_err!("no file is called `{path}`"),
            Err(error) => return Err(error.context(format!("the columns of `{path}` can't be told"))),
        };
        let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(schema);
        Ok(Arc::new(ListingTable::try_new(config)?))
    }
}

/// The file beside it whose name is most alike.
fn nearest(path: &Path) -> String {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return format!(", nor a directory `{}`", directory.display());
    }
    let Some(wanted) = path.file_name().and_then(|name| name.to_str()) else { return String::new() };
    let files =
        fs::read_dir(directory).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let alike = files.map(|name| (normalized_levenshtein(wanted, &name), name));
    let near = alike.filter(|(alike, _)| *alike > 0.5).max_by(|(one, _), (other, _)| one.total_cmp(other));
    near.map_or(String::new(), |(_, name)| format!("; did you mean `{}`?", directory.join(name).display()))
}

#[async_trait]
impl UrlTableFactory for FileTables {
    /// Asked for every name that is no table's.
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let is_path = name.contains(['/', '*']) || end_of(Path::new(name)).is_some() || Path::new(name).is_dir();
        match is_path {
            true => self.open(name).await.map(Some),
            false => Ok(None),
        }
    }
}
