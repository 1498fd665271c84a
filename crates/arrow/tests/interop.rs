//! Arrow's own reader and writer at the other end (C9).

mod support;

use std::io::Cursor;
use std::sync::Arc;

use anyudf_arrow::{Decoder, Kind, Limits, encode_schema};
use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int8Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions, StreamWriter};
use arrow_ipc::{CompressionType, MetadataVersion};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use support::*;

fn stream(schema: &SchemaRef, batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn compressed(codec: CompressionType) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap()
}

fn types() -> Vec<DataType> {
    flat_types().into_iter().chain(nested_types()).collect()
}

/// C9: what we write, arrow reads, once the schema is put in front.
#[test]
fn arrow_reads_what_we_write() {
    for (seed, data_type) in types().into_iter().enumerate() {
        let batch = Random(seed as u64).batch(&[DataType::Int32, data_type, DataType::Utf8], 60);
        for batch in [batch.clone(), batch.slice(0, 0), batch.slice(11, 30)] {
            let bytes = [encode_schema(&batch.schema()), encode(&batch).into_bytes()].concat();
            let mut read = StreamReader::try_new(Cursor::new(bytes), None).unwrap();
            same(&read.next().unwrap().unwrap(), &batch);
        }
    }
}

/// C9: what arrow writes we read: the schema in front, several batches, the end-of-stream marker, one stream a message.
#[test]
fn we_read_what_arrow_writes() {
    for (seed, data_type) in types().into_iter().enumerate() {
        let mut random = Random(seed as u64);
        let first = random.batch(&[data_type], 60);
        let schema = first.schema();
        let batches = [first, random.batch_of(&schema, 0), random.batch_of(&schema, 70)];
        for alignment in [8, 64] {
            let options = IpcWriteOptions::try_new(alignment, false, MetadataVersion::V5).unwrap();
            let bytes = stream(&schema, &batches, options);
            for shift in [0, 5] {
                let decoded = decoder(&schema).decode(shifted(&bytes, shift)).unwrap();
                assert_eq!(decoded.len(), batches.len());
                decoded.iter().zip(&batches).for_each(|(found, expected)| same(found, expected));

                let mut learning = Decoder::learning(Limits::default());
                let decoded = learning.decode(shifted(&bytes, shift)).unwrap();
                assert_eq!(learning.schema(), Some(&schema));
                decoded.iter().zip(&batches).for_each(|(found, expected)| same(found, expected));
            }
        }
    }
}

/// C9: LZ4 and ZSTD bodies.
#[test]
fn we_read_compressed_bodies() {
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        for (seed, data_type) in types().into_iter().enumerate() {
            let batch = Random(seed as u64).batch(&[data_type, DataType::Int64], 300);
            let bytes = stream(&batch.schema(), std::slice::from_ref(&batch), compressed(codec));
            for shift in [0, 7] {
                same(&decoder(&batch.schema()).decode(shifted(&bytes, shift)).unwrap()[0], &batch);
            }
        }
    }
}

/// C9: metadata version 4, whose unions have a validity of their own.
#[test]
fn we_read_version_4() {
    for (seed, data_type) in types().into_iter().enumerate() {
        let has_run_ends = data_type.to_string().contains("RunEndEncoded");
        let batch = Random(seed as u64).batch(&[data_type], 40);
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V4).unwrap();
        let bytes = stream(&batch.schema(), std::slice::from_ref(&batch), options);
        // Run-end encoding is younger than version 4, and arrow's writer gives it a validity there.
        if !has_run_ends && !batch.column(0).data_type().to_string().contains("Union") {
            same(&decoder(&batch.schema()).decode(bytes.into()).unwrap()[0], &batch);
        }
    }
}

/// C9: deltas grow a dictionary, within one message and across messages, and survive the message they came in.
#[test]
fn dictionaries_grow_by_deltas() {
    let mut builder = StringDictionaryBuilder::<Int8Type>::new();
    let mut batches = Vec::new();
    for words in [&["a", "b"][..], &["b", "c", "a"], &["d"], &["a", "e", "f"]] {
        words.iter().for_each(|word| builder.append_value(word));
        let array: ArrayRef = Arc::new(builder.finish_preserve_values());
        batches.push(RecordBatch::try_from_iter([("d", array)]).unwrap());
    }
    let schema = batches[0].schema();
    let options = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    let mut decoder = Decoder::learning(Limits::default());
    let mut sent = 0;
    for batch in &batches {
        writer.write(batch).unwrap();
        let message = writer.get_ref()[sent..].to_vec();
        sent = writer.get_ref().len();
        same(&decoder.decode(message.into()).unwrap()[0], batch);
    }
    let whole = writer.into_inner().unwrap();
    let decoded = Decoder::learning(Limits::default()).decode(whole.into()).unwrap();
    decoded.iter().zip(&batches).for_each(|(found, expected)| same(found, expected));
}

/// C9: a dictionary sent once serves the later messages.
#[test]
fn dictionaries_last() {
    let word = dictionary(DataType::Int8, DataType::Utf8);
    let types =
        [word.clone(), dictionary(DataType::Int16, structure(&[word, DataType::Boolean, DataType::BinaryView]))];
    let batch = Random(9).batch(&types, 50);
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    let mut decoder = Decoder::learning(Limits::default());
    let mut sent = 0;
    for part in 0..5 {
        let part = batch.slice(10 * part, 10);
        writer.write(&part).unwrap();
        let message = writer.get_ref()[sent..].to_vec();
        sent = writer.get_ref().len();
        same(&decoder.decode(message.into()).unwrap()[0], &part);
    }
}

/// C9: a schema in the data must say what was agreed; what differs in name only does no harm.
#[test]
fn a_schema_in_the_data_must_be_the_agreed_one() {
    let schema = |name: &str, data_type: DataType| Arc::new(Schema::new(vec![Field::new(name, data_type, true)]));
    let agreed = schema("x", DataType::List(Arc::new(Field::new("item", DataType::Int32, true))));
    let check = |theirs: SchemaRef| {
        let batch = Random(4).batch_of(&theirs, 3);
        let bytes = stream(&theirs, &[batch], IpcWriteOptions::default());
        decoder(&agreed).decode(bytes.into()).map(|batches| assert_eq!(batches[0].schema(), agreed))
    };
    check(schema("x", DataType::List(Arc::new(Field::new("element", DataType::Int32, true))))).unwrap();
    check(schema("x", DataType::List(Arc::new(Field::new("element", DataType::Int32, false))))).unwrap();
    for (theirs, text) in [
        (schema("y", agreed.field(0).data_type().clone()), r#"column 0 of the data is "y", the agreed schema has "x""#),
        (schema("x", DataType::Int32), r#"column "x": the data has Int32, the agreed schema List(Int32)"#),
        (Arc::new(Schema::empty()), "the data has 0 columns, the agreed schema 1"),
    ] {
        let error = check(theirs).unwrap_err();
        assert_eq!((error.kind(), error.condition()), (Kind::SchemaMismatch, "ARROW_SCHEMA_MISMATCH"));
        assert_eq!(error.to_string(), text);
    }
}

/// C9: without an agreed schema there must be one in the data.
#[test]
fn data_without_a_schema_cannot_be_read() {
    let batch = Random(4).batch(&[DataType::Int8], 3);
    let error = Decoder::learning(Limits::default()).decode(encode(&batch).into_bytes()).unwrap_err();
    assert_eq!(error.kind(), Kind::Malformed);
    assert!(error.to_string().starts_with("data before any schema"), "{error}");
}
