"""What to do with files that people have and that no source reads."""

from __future__ import annotations

_ENDINGS = {
    "save it as .xlsx or CSV": ".numbers",
    "opening it could run code: save arrays as .npy or .npz": ".pkl .pickle .pt .pth .joblib .dill .cloudpickle",
    "unpack it first": ".zip .rar .7z .bz2 .xz .zst .lz4",
    "it is a part of an archive: join the parts, and unpack it first": ".001 .z01 .r00",
    "load it by sklearn.datasets.load_svmlight_file, and pass (X, y) in Python": ".svm .libsvm .svmlight",
    "write its samples as files, .npy or tar shards": ".tfrecord .tfrecords .rec .lmdb",
    "save the table as Parquet or CSV": ".gdt .mtw .mdb .accdb .dbf .html .sql .dump .kml .gpx .wk1 .wks .fods",
    "save the table as Parquet or CSV, or pass pyarrow.orc.read_table(path) in Python": ".orc",
    "save the table as Parquet or CSV, or pass pandas.DataFrame(fastavro.reader(open(path, 'rb'))) in Python": ".avro",
    "save the table as Parquet or CSV: in R by write.csv(readRDS(path), 'table.csv', row.names = FALSE)": ".rds",
    "save the table as Parquet or CSV: in R by load(path), and write.csv": ".rda .rdata .fst .qs",
    "save the table as Parquet or CSV, or pass pandas.read_sql('SELECT * FROM name', sqlite3.connect(path)) in Python": (
        ".db .db3 .sqlite .sqlite3"
    ),
    "save the table as Parquet or CSV, or pass duckdb.connect(path).table('name').df() in Python": ".duckdb .ddb",
    "save the table as Parquet or CSV, or pass geopandas.read_file(path).drop(columns='geometry') in Python": (
        ".geojson .shp .gpkg .fgb"
    ),
    "save its records as JSON lines": ".msgpack .bson .cbor",
    "give it a name that ends in .parquet": ".pq .parq .prq",
    "give it a name that ends in .arrow": ".ipc .arrows",
    "save it as .xlsx": ".xltx .xltm .xlt .ots",
    "it holds formats of values; open the .sas7bdat beside it": ".sas7bcat",
    "it holds a network, not samples": ".onnx .gguf .ckpt .pb .tflite .keras .mlmodel",
    "pass safetensors.numpy.load_file(path) in Python": ".safetensors",
    "save the messages as CSV or .npy": ".bag .mcap .rosbag .ulg .blf .mf4",
    "save its arrays as .npy, or pass uproot.open(path)['tree'].arrays(library='pd') in Python": ".root",
    "it may describe data; open the files that it is about": ".xml .yaml .yml .toml .md",
    "save its matrix as .npy or .npz, or pass adata.X in Python": ".h5ad .loom",
    "save the signals as CSV, .npy or .wav": ".edf .bdf .vhdr .fif .gdf .hea .lvm .tdms",
    "load it by numpy.fromfile, and save it as .npy; of CIFAR, open the folder": ".bin",
    "convert the sound to WAV or FLAC": ".m4a .aac .amr .wma .caf .ape .mid .wv .mpc .tak .dsf",
    "convert the video to MP4": ".3gp .flv .mts .m2ts .insv .vob .rm .ts2",
    "it is a shortcut of Google Drive: download the document itself": ".gsheet .gdoc .gslides",
    "it is a download that is not finished": ".part .crdownload .download .partial .tmp",
    "save its arrays as .npy, HDF5 or Zarr, or pass xarray.open_dataset(path)['variable'] in Python": (
        ".nc .nc4 .cdf .grib .grb .grb2 .hdf"
    ),
    "save its points as an array in .npy": ".las .laz .ply .pcd .stl .obj",
    "save the images as TIFF": ".svs .czi .nd2 .lif .ndpi .mrxs .vsi .oib .oif",
    "save the images as PNG or TIFF": ".exr .hdr .ico .icns .psd .xcf .tga .dds .qoi .pcx .dcx .sgi .rgb .fli",
    "save its pages as images first": ".pdf .doc .docx .svg",
    "save the images as PNG or TIFF, or arrays as .npy": ".nii .nii.gz .mha .nrrd .fits .raw .cr2 .nef",
}
"""Advice -> endings of the files."""
ADVICE = {ending: advice for advice, endings in _ENDINGS.items() for ending in endings.split()}
"""Ending, in lower case -> advice."""
