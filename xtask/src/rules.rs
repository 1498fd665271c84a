use anyhow::Result;
use std::path::Path;
pub(crate) fn run(_root: &Path) -> Result<()> {
    Ok(())
}
