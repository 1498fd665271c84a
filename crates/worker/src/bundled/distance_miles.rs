//! `distance_miles(lat1, lon1, lat2, lon2)`: an example of a scalar function over rows.

use crate::definition::{Definition, IntoDefinition};
use crate::udf;

/// The mean radius of the earth in miles.
const EARTH_RADIUS: f64 = 3958.7613;

/// The function as a worker serves it.
pub fn definition() -> Definition {
    distance_miles.into_definition()
}

/// Great-circle distance in miles between two points in degrees, by the haversine formula, which keeps its accuracy for
/// points that are near each other. A null in gives a null out.
#[udf(volatility = "immutable", help = "great-circle distance in miles between two points given in degrees")]
pub fn distance_miles(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (lat1, lat2) = (lat1.to_radians(), lat2.to_radians());
    let half_lat = ((lat2 - lat1) / 2.0).sin();
    let half_lon = ((lon2 - lon1).to_radians() / 2.0).sin();
    let chord = half_lat * half_lat + lat1.cos() * lat2.cos() * half_lon * half_lon;
    // Antipodes may come out a little above one; what is not a number stays so.
    2.0 * EARTH_RADIUS * chord.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published distance from New York (JFK) to Los Angeles (LAX) is 2,475 miles.
    #[test]
    fn known_distances() {
        let miles = distance_miles(40.63975111, -73.77892556, 33.94253611, -118.4080744);
        assert!((miles - 2475.0).abs() < 2475.0 * 0.005, "{miles}");
        assert_eq!(distance_miles(10.0, 20.0, 10.0, 20.0), 0.0);
        let half_way_round = std::f64::consts::PI * EARTH_RADIUS;
        assert!((distance_miles(0.0, 0.0, 0.0, 180.0) - half_way_round).abs() < 1e-6);
        assert!(distance_miles(f64::NAN, 0.0, 0.0, 0.0).is_nan());
    }
}
