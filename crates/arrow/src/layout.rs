//! Where everything of a message will lie, worked out before anything is copied.
//!
//! A [`Layout`] walks arrays and notes nodes, buffers and their lengths as the flatbuffer lists them. What it keeps of a
//! buffer is a [`Piece`]: mostly the buffer itself, to be passed on as it is; otherwise what is needed to make it. So the
//! exact length of a message is known while it is still cheap to find that it is too long.

use arrow_array::cast::AsArray;
use arrow_array::types::{ByteArrayType, ByteViewType, Int16Type, Int32Type, Int64Type, RunEndIndexType};
use arrow_array::{
    Array, GenericByteArray, GenericByteViewArray, GenericListArray, GenericListViewArray, OffsetSizeTrait, UnionArray,
    types,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow_data::BufferSpec;
use arrow_ipc as ipc;
use arrow_schema::DataType;
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::column::Column;
use crate::error::{Error, Result};
use crate::message::{self, padded};

/// One encapsulated message, ready to be written.
#[derive(Debug)]
pub(crate) struct Laid {
    /// Marker, length and flatbuffer, padded.
    pub(crate) header: Vec<u8>,
    /// The buffers of the body. Each is padded to [`ALIGNMENT`](crate::ALIGNMENT) when it is written.
    pub(crate) pieces: Vec<Piece>,
    /// The length of all of it.
    pub(crate) length: usize,
}

impl Laid {
    /// Moves the body so that it is aligned when the message is `lead` bytes behind a multiple of the alignment.
    pub(crate) fn put_behind(&mut self, lead: usize) {
        let before = self.header.len();
        message::put_behind(lead, &mut self.header);
        self.length = self.length - before + self.header.len();
    }
}

/// A buffer of a body, or how to make it.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A buffer that goes out as it is.
    Shared(Buffer),
    /// Bits that do not start at a byte.
    Bits(BooleanBuffer),
    /// Offsets of a slice, which start `by` too high: 64 bits wide or 32.
    Rebased { offsets: Buffer, wide: bool, by: usize },
    /// Views whose values move together into one buffer.
    CompactViews(ScalarBuffer<u128>),
    /// That buffer.
    CompactValues { views: ScalarBuffer<u128>, buffers: Vec<Buffer>, length: usize },
}

/// The columns of one record batch or the values of one dictionary.
#[derive(Default)]
pub(crate) struct Layout {
    nodes: Vec<ipc::FieldNode>,
    buffers: Vec<ipc::Buffer>,
    variadic: Vec<i64>,
    pieces: Vec<Piece>,
    length: usize,
}

impl Layout {
    /// Adds an array and everything below it. Dictionaries that it needs are laid out before it, inner ones first.
    pub(crate) fn add(&mut self, array: &dyn Array, column: &Column, dictionaries: &mut Vec<Laid>) -> Result<()> {
        use DataType as T;
        // Null and run-end encoded arrays and unions have no validity of their own, and no buffer for it.
        match array.data_type() {
            T::Null => {
                self.node(array.len(), array.len());
                return Ok(());
            }
            T::Union(..) => {
                self.node(array.len(), 0);
                return self.union(array.as_union(), column, dictionaries);
            }
            T::RunEndEncoded(ends, _) => {
                self.node(array.len(), 0);
                return match ends.data_type() {
                    T::Int16 => self.runs::<Int16Type>(array, column, dictionaries),
                    T::Int32 => self.runs::<Int32Type>(array, column, dictionaries),
                    _ => self.runs::<Int64Type>(array, column, dictionaries),
                };
            }
            _ => {}
        }
        self.node(array.len(), array.null_count());
        match array.nulls() {
            Some(nulls) if nulls.null_count() > 0 => self.bits(nulls.inner()),
            _ => self.buffer(Piece::Shared(Buffer::default())),
        }
        match array.data_type() {
            T::Boolean => self.bits(array.as_boolean().values()),
            T::Utf8 => self.bytes::<types::Utf8Type>(array.as_bytes()),
            T::LargeUtf8 => self.bytes::<types::LargeUtf8Type>(array.as_bytes()),
            T::Binary => self.bytes::<types::BinaryType>(array.as_bytes()),
            T::LargeBinary => self.bytes::<types::LargeBinaryType>(array.as_bytes()),
            T::Utf8View => self.views(array.as_string_view()),
            T::BinaryView => self.views(array.as_binary_view()),
            T::List(_) => self.list(array.as_list::<i32>(), column, dictionaries)?,
            T::LargeList(_) => self.list(array.as_list::<i64>(), column, dictionaries)?,
            T::ListView(_) => self.list_view(array.as_list_view::<i32>(), column, dictionaries)?,
            T::LargeListView(_) => self.list_view(array.as_list_view::<i64>(), column, dictionaries)?,
            T::FixedSizeList(_, size) => {
                let values = array.as_fixed_size_list().values();
                let values = values.slice(0, array.len() * size.as_usize());
                self.add(&values, &column.children[0], dictionaries)?;
            }
            T::Map(..) => {
                let map = array.as_map();
                let (start, length) = self.offsets(map.offsets());
                self.add(&map.entries().slice(start, length), &column.children[0], dictionaries)?;
            }
            T::Struct(_) => {
                for (child, column) in array.as_struct().columns().iter().zip(&column.children) {
                    self.add(child, column, dictionaries)?;
                }
            }
            T::Dictionary(..) => self.dictionary(array, column, dictionaries)?,
            _ => self.fixed(array)?,
        }
        Ok(())
    }

    fn node(&mut self, rows: usize, nulls: usize) {
        self.nodes.push(ipc::FieldNode::new(rows as i64, nulls as i64));
    }

    fn buffer(&mut self, piece: Piece) {
        let length = piece.len();
        self.buffers.push(ipc::Buffer::new(self.length as i64, length as i64));
        self.length += padded(length);
        self.pieces.push(piece);
    }

    fn bits(&mut self, bits: &BooleanBuffer) {
        let aligned = bits.offset().is_multiple_of(8);
        self.buffer(if aligned { Piece::Shared(bits.sliced()) } else { Piece::Bits(bits.clone()) });
    }

    /// Adds offsets, which start at zero on the wire. Returns where their values start and how many there are.
    fn offsets<O: OffsetSizeTrait>(&mut self, offsets: &OffsetBuffer<O>) -> (usize, usize) {
        let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
        let buffer = offsets.inner().inner().clone();
        self.buffer(match first {
            0 => Piece::Shared(buffer),
            by => Piece::Rebased { offsets: buffer, wide: O::IS_LARGE, by },
        });
        (first, last - first)
    }

    fn bytes<T: ByteArrayType>(&mut self, array: &GenericByteArray<T>) {
        let (start, length) = self.offsets(array.offsets());
        self.buffer(Piece::Shared(array.values().slice_with_length(start, length)));
    }

    fn views<T: ByteViewType>(&mut self, array: &GenericByteViewArray<T>) {
        let (views, buffers) = (array.views(), array.data_buffers());
        let held: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let used = array.total_buffer_bytes_used();
        // A slice or a filtered array holds on to every buffer that it ever had.
        if held > 2 * used + WASTE && i32::try_from(used).is_ok() {
            self.buffer(Piece::CompactViews(views.clone()));
            self.variadic.push(i64::from(used > 0));
            if used > 0 {
                let buffers = buffers.to_vec();
                self.buffer(Piece::CompactValues { views: views.clone(), buffers, length: used });
            }
            return;
        }
        self.buffer(Piece::Shared(views.inner().clone()));
        self.variadic.push(buffers.len() as i64);
        for buffer in buffers {
            self.buffer(Piece::Shared(buffer.clone()));
        }
    }

    fn list<O: OffsetSizeTrait>(
        &mut self,
        array: &GenericListArray<O>,
        column: &Column,
        dictionaries: &mut Vec<Laid>,
    ) -> Result<()> {
        let (start, length) = self.offsets(array.offsets());
        self.add(&array.values().slice(start, length), &column.children[0], dictionaries)
    }

    /// The lists of a view may lie anywhere and in any order; only the stretch that they cover is sent.
    fn list_view<O: OffsetSizeTrait>(
        &mut self,
        array: &GenericListViewArray<O>,
        column: &Column,
        dictionaries: &mut Vec<Laid>,
    ) -> Result<()> {
        let (offsets, sizes) = (array.offsets(), array.sizes());
        let covered = offsets.iter().zip(sizes).filter(|(_, size)| size.as_usize() > 0);
        let covered = covered.map(|(offset, size)| (offset.as_usize(), offset.as_usize() + size.as_usize()));
        let (start, end) = covered.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0, 0));
        if start == 0 && end == array.values().len() {
            self.buffer(Piece::Shared(offsets.inner().clone()));
        } else {
            // An empty list may point outside of what the others cover.
            let moved = offsets.iter().zip(sizes).map(|(offset, size)| match size.as_usize() {
                0 => O::default(),
                _ => O::usize_as(offset.as_usize() - start),
            });
            self.buffer(Piece::Shared(Buffer::from_vec(moved.collect::<Vec<O>>())));
        }
        self.buffer(Piece::Shared(sizes.inner().clone()));
        self.add(&array.values().slice(start, end - start), &column.children[0], dictionaries)
    }

    fn union(&mut self, array: &UnionArray, column: &Column, dictionaries: &mut Vec<Laid>) -> Result<()> {
        let ids = array.type_ids();
        self.buffer(Piece::Shared(ids.inner().clone()));
        let DataType::Union(fields, _) = array.data_type() else { unreachable!("a union has a union's type") };
        let Some(offsets) = array.offsets() else {
            for ((id, _), column) in fields.iter().zip(&column.children) {
                self.add(array.child(id), column, dictionaries)?;
            }
            return Ok(());
        };
        // Of each child of a dense union, the stretch that this slice refers to.
        let mut stretch = [None::<(usize, usize)>; 128];
        for (id, offset) in ids.iter().zip(offsets) {
            let (offset, stretch) = (offset.as_usize(), &mut stretch[id.as_usize()]);
            let (start, end) = stretch.unwrap_or((offset, offset));
            *stretch = Some((start.min(offset), end.max(offset + 1)));
        }
        let stretch = |id: i8| stretch[id.as_usize()].unwrap_or((0, 0));
        let rebase = fields.iter().any(|(id, _)| stretch(id).0 > 0);
        self.buffer(Piece::Shared(if rebase {
            let moved = ids.iter().zip(offsets).map(|(id, offset)| offset - stretch(*id).0 as i32);
            Buffer::from_vec(moved.collect::<Vec<i32>>())
        } else {
            offsets.inner().clone()
        }));
        for ((id, _), column) in fields.iter().zip(&column.children) {
            let (start, end) = stretch(id);
            self.add(&array.child(id).slice(start, end - start), column, dictionaries)?;
        }
        Ok(())
    }

    fn runs<R: RunEndIndexType>(
        &mut self,
        array: &dyn Array,
        column: &Column,
        dictionaries: &mut Vec<Laid>,
    ) -> Result<()> {
        let array = array.as_run::<R>();
        let ends = array.run_ends();
        let values = array.values_slice();
        // The ends are an array of numbers without nulls.
        self.node(values.len(), 0);
        self.buffer(Piece::Shared(Buffer::default()));
        let whole = ends.offset() == 0 && ends.values().len() == values.len() && ends.max_value() == array.len();
        self.buffer(Piece::Shared(if whole {
            ends.inner().inner().clone()
        } else {
            Buffer::from_vec(ends.sliced_values().collect::<Vec<R::Native>>())
        }));
        self.add(&values, &column.children[1], dictionaries)
    }

    /// Adds the keys here and the values to `dictionaries`: every message brings the dictionaries it needs (C9).
    fn dictionary(&mut self, array: &dyn Array, column: &Column, dictionaries: &mut Vec<Laid>) -> Result<()> {
        let whole = array.as_any_dictionary();
        // More values than keys: some are not used. That is what a small slice of a column looks like. Values of nested
        // types go whole: arrow's filter does not get through all of them.
        let values = whole.values().data_type();
        let simple = !values.is_nested()
            && !matches!(values, DataType::Null | DataType::FixedSizeBinary(0) | DataType::RunEndEncoded(..));
        let compact = (simple && whole.values().len() > array.len())
            .then(|| arrow_select::dictionary::garbage_collect_any_dictionary(whole).ok())
            .flatten();
        let dictionary = compact.as_ref().map_or(whole, |compact| compact.as_any_dictionary());
        self.fixed(dictionary.keys())?;

        let values = dictionary.values();
        let mut layout = Layout::default();
        layout.add(values, &column.children[0], dictionaries)?;
        let id = column.dictionary.expect("every dictionary is numbered");
        dictionaries.push(layout.finish_dictionary(id, values.len()));
        Ok(())
    }

    /// Numbers, dates, decimals, fixed-size binary, keys: one buffer of values of one width.
    fn fixed(&mut self, array: &dyn Array) -> Result<()> {
        let layout = arrow_data::layout(array.data_type());
        let [BufferSpec::FixedWidth { byte_width, .. }] = layout.buffers[..] else {
            return Err(Error::unsupported(format!("columns of type {}", array.data_type())));
        };
        let data = array.to_data();
        let values = data.buffers()[0].slice_with_length(data.offset() * byte_width, data.len() * byte_width);
        self.buffer(Piece::Shared(values));
        Ok(())
    }

    /// Ends a record batch.
    pub(crate) fn finish_batch(self, rows: usize) -> Laid {
        let mut builder = FlatBufferBuilder::with_capacity(self.flatbuffer_size());
        let batch = self.batch(&mut builder, rows).as_union_value();
        self.finish(builder, ipc::MessageHeader::RecordBatch, batch)
    }

    fn finish_dictionary(self, id: i64, rows: usize) -> Laid {
        let mut builder = FlatBufferBuilder::with_capacity(self.flatbuffer_size());
        let batch = self.batch(&mut builder, rows);
        let mut dictionary = ipc::DictionaryBatchBuilder::new(&mut builder);
        dictionary.add_id(id);
        dictionary.add_data(batch);
        let dictionary = dictionary.finish().as_union_value();
        self.finish(builder, ipc::MessageHeader::DictionaryBatch, dictionary)
    }

    /// Enough for the vectors and the four small tables around them.
    fn flatbuffer_size(&self) -> usize {
        16 * (self.nodes.len() + self.buffers.len()) + 8 * self.variadic.len() + 256
    }

    fn batch<'a>(&self, builder: &mut FlatBufferBuilder<'a>, rows: usize) -> WIPOffset<ipc::RecordBatch<'a>> {
        let nodes = builder.create_vector(&self.nodes);
        let buffers = builder.create_vector(&self.buffers);
        let variadic = (!self.variadic.is_empty()).then(|| builder.create_vector(&self.variadic));
        let mut batch = ipc::RecordBatchBuilder::new(builder);
        batch.add_length(rows as i64);
        batch.add_nodes(nodes);
        batch.add_buffers(buffers);
        if let Some(variadic) = variadic {
            batch.add_variadicBufferCounts(variadic);
        }
        batch.finish()
    }

    fn finish(
        self,
        mut builder: FlatBufferBuilder<'_>,
        header_type: ipc::MessageHeader,
        header: WIPOffset<UnionWIPOffset>,
    ) -> Laid {
        let mut message = ipc::MessageBuilder::new(&mut builder);
        message.add_version(ipc::MetadataVersion::V5);
        message.add_header_type(header_type);
        message.add_bodyLength(self.length as i64);
        message.add_header(header);
        let message = message.finish();
        builder.finish(message, None);
        let mut header = Vec::new();
        message::put_header(builder.finished_data(), &mut header);
        Laid { length: header.len() + self.length, header, pieces: self.pieces }
    }
}

/// Buffers of views may hold this much that is not used before they are worth copying.
const WASTE: usize = 4096;

impl Piece {
    /// How many bytes it is.
    pub(crate) fn len(&self) -> usize {
        match self {
            Piece::Shared(buffer) => buffer.len(),
            Piece::Bits(bits) => bits.len().div_ceil(8),
            Piece::Rebased { offsets, .. } => offsets.len(),
            Piece::CompactViews(views) => views.inner().len(),
            Piece::CompactValues { length, .. } => *length,
        }
    }

    /// The buffer, made now if it has to be.
    pub(crate) fn into_buffer(self) -> Buffer {
        match self {
            Piece::Shared(buffer) => buffer,
            Piece::Bits(bits) => bits.sliced(),
            Piece::Rebased { offsets, wide: false, by } => rebased::<i32>(&offsets, by),
            Piece::Rebased { offsets, wide: true, by } => rebased::<i64>(&offsets, by),
            Piece::CompactViews(views) => {
                let mut next = 0;
                let moved = views.iter().map(|view| match View::of(*view) {
                    None => *view,
                    Some(long) => {
                        let moved = (*view as u64 as u128) | (next as u128) << 96;
                        next += long.length;
                        moved
                    }
                });
                Buffer::from_vec(moved.collect::<Vec<u128>>())
            }
            Piece::CompactValues { views, buffers, length } => {
                let mut values = Vec::with_capacity(length);
                for long in views.iter().filter_map(|view| View::of(*view)) {
                    values.extend_from_slice(&buffers[long.buffer][long.start..long.start + long.length]);
                }
                Buffer::from_vec(values)
            }
        }
    }
}

fn rebased<O: OffsetSizeTrait>(offsets: &Buffer, by: usize) -> Buffer {
    let by = O::usize_as(by);
    offsets.typed_data::<O>().iter().map(|offset| *offset - by).collect::<Vec<O>>().into()
}

/// A view of a value too long to be inside of it.
struct View {
    length: usize,
    buffer: usize,
    start: usize,
}

impl View {
    fn of(view: u128) -> Option<View> {
        let length = view as u32 as usize;
        let long = View { length, buffer: (view >> 64) as u32 as usize, start: (view >> 96) as u32 as usize };
        (length > 12).then_some(long)
    }
}
