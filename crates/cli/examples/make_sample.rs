//! Makes the example data of this repository: flights, with the coordinates of their airports beside them.
//!
//! ```text
//! cargo run --release -p anyudf-cli --example make_sample -- FLIGHTS AIRPORTS ROWS OUTPUT
//! ```
//! Takes ROWS of the flights, spread evenly over the whole file and in its order, joins latitude and longitude of
//! origin and destination (null where the airport is unknown), and replaces OUTPUT. Any format will do for all three.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyudf_cli::files::{Input, InputOptions, OutputOptions};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [flights, airports, rows, output] = arguments.as_slice() else {
        return Err("usage: make_sample FLIGHTS AIRPORTS ROWS OUTPUT".into());
    };
    let airports = Airports::read(Path::new(airports))?;
    let wanted: u64 = rows.parse()?;
    let flights = Input::open(Path::new(flights), &InputOptions { batch_rows: 65_536, ..InputOptions::default() })?;
    let total = flights.total_rows().ok_or("the flights have to be in a format that knows its number of rows")?;

    let added =
        ["origin_lat", "origin_lon", "dest_lat", "dest_lon"].map(|name| Field::new(name, DataType::Float64, true));
    let fields = flights.schema().fields().iter().map(|field| field.as_ref().clone()).chain(added);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = OutputOptions { path: Some(PathBuf::from(output)), force: true, ..OutputOptions::default() };
    let mut output = options.create(Arc::clone(&schema))?;

    let mut row = 0;
    for batch in flights {
        let batch = batch?;
        let taken: BooleanArray =
            (row..row + batch.num_rows() as u64).map(|row| Some(is_taken(row, wanted, total))).collect();
        row += batch.num_rows() as u64;
        let batch = filter_record_batch(&batch, &taken)?;
        let [origin_lat, origin_lon] = airports.coordinates(&batch, "origin")?;
        let [dest_lat, dest_lon] = airports.coordinates(&batch, "destination")?;
        let columns = batch.columns().iter().cloned().chain([origin_lat, origin_lon, dest_lat, dest_lon]);
        output.write(&RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)?;
    }
    let written = output.commit()?;
    println!("{} rows, {} bytes", written.rows, written.bytes);
    Ok(())
}

/// Whether a row is among `wanted` of `total` that lie evenly apart, beginning with the first.
fn is_taken(row: u64, wanted: u64, total: u64) -> bool {
    u128::from(row) * u128::from(wanted) % u128::from(total) < u128::from(wanted)
}

/// Latitude and longitude by code.
struct Airports(HashMap<String, (f64, f64)>);

impl Airports {
    fn read(path: &Path) -> Result<Airports> {
        // A file in which only codes like 1E5 came first would look like one of numbers.
        let options =
            InputOptions { types: "iata=string,latitude=double,longitude=double".parse()?, ..InputOptions::default() };
        let mut airports = HashMap::new();
        for batch in Input::open(path, &options)? {
            let batch = batch?;
            let column = |name: &str| batch.column_by_name(name).ok_or(format!("airports without {name}"));
            let codes = column("iata")?.as_string::<i32>().iter();
            let latitudes = column("latitude")?.as_primitive::<Float64Type>().iter();
            let longitudes = column("longitude")?.as_primitive::<Float64Type>().iter();
            for ((code, latitude), longitude) in codes.zip(latitudes).zip(longitudes) {
                if let (Some(code), Some(latitude), Some(longitude)) = (code, latitude, longitude) {
                    airports.insert(code.to_owned(), (latitude, longitude));
                }
            }
        }
        Ok(Airports(airports))
    }

    /// The coordinates of the airports that a column of codes names.
    fn coordinates(&self, batch: &RecordBatch, column: &str) -> Result<[ArrayRef; 2]> {
        let codes = batch.column_by_name(column).ok_or(format!("flights without {column}"))?;
        let codes = cast(codes, &DataType::Utf8)?;
        let found: Vec<Option<&(f64, f64)>> = codes.as_string::<i32>().iter().map(|code| self.0.get(code?)).collect();
        let latitudes: Float64Array = found.iter().map(|place| place.map(|place| place.0)).collect();
        let longitudes: Float64Array = found.iter().map(|place| place.map(|place| place.1)).collect();
        Ok([Arc::new(latitudes), Arc::new(longitudes)])
    }
}
