"""The plugin API: everything that a plugin imports from aekit.

A plugin needs few of these names: `Entry`, `hookimpl` and `Field` register it and declare its options; its class derives from
`Variant`, `Pretext`, `Backbone`, `Source` or `Index`; an evaluator is a function that returns a `Result`. `GROUPS` lists all
other names by kind of plugin. Shared layers are in `aekit.nn` and `aekit.objectives`; other modules may change without notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aekit._lazy import lazy_exports

if TYPE_CHECKING:
    from aekit.data.axes import KindOption as KindOption, Layout as Layout, infer_axes as infer_axes
    from aekit.data.contents import Contents as Contents
    from aekit.data.examples import (
        encoded_images as encoded_images,
        image_table as image_table,
        images as images,
        video as video,
        write_mnist as write_mnist,
        write_recording as write_recording,
        write_series as write_series,
    )
    from aekit.data.framing import (
        Framing as Framing,
        per_channel as per_channel,
        preprocessing_advice as preprocessing_advice,
    )
    from aekit.data.in_memory import (
        from_array as from_array,
        open_contents as open_contents,
        open_named_arrays as open_named_arrays,
        open_records as open_records,
    )
    from aekit.data.metadata import Metadata as Metadata
    from aekit.data.opening import open_data as open_data
    from aekit.data.readers.arrow_files import read_arrow as read_arrow
    from aekit.data.readers.cifar import find_cifar_files as find_cifar_files, read_cifar_folder as read_cifar_folder
    from aekit.data.readers.delimited import TextFormat as TextFormat
    from aekit.data.readers.endings import (
        ARRAY_ENDINGS as ARRAY_ENDINGS,
        IMAGE_ENDINGS as IMAGE_ENDINGS,
        SHEET_ENDINGS as SHEET_ENDINGS,
        SOUND_ENDINGS as SOUND_ENDINGS,
        STATISTICS_ENDINGS as STATISTICS_ENDINGS,
        TABLE_ENDINGS as TABLE_ENDINGS,
        TEXT_ENDINGS as TEXT_ENDINGS,
        VIDEO_ENDINGS as VIDEO_ENDINGS,
    )
    from aekit.data.readers.file_tables import MetadataOption as MetadataOption, describe_files as describe_files
    from aekit.data.readers.folders import contains_files as contains_files
    from aekit.data.readers.idx import (
        find_image_files as find_image_files,
        find_labels_file as find_labels_file,
        read_idx as read_idx,
        read_mnist_folder as read_mnist_folder,
    )
    from aekit.data.readers.image_headers import (
        MAX_MEGAPIXELS as MAX_MEGAPIXELS,
        BadImage as BadImage,
        HeaderSurprises as HeaderSurprises,
        all_headers as all_headers,
        choose_spec as choose_spec,
        describe_losses as describe_losses,
        draw_files as draw_files,
    )
    from aekit.data.readers.image_lists import (
        Listing as Listing,
        MasksOption as MasksOption,
        list_folder as list_folder,
        list_images as list_images,
        lists_images as lists_images,
    )
    from aekit.data.readers.images import (
        ImageItems as ImageItems,
        for_each_full_size as for_each_full_size,
        read_images as read_images,
        read_windows as read_windows,
    )
    from aekit.data.readers.json_lines import read_json_lines as read_json_lines
    from aekit.data.readers.matlab_files import matlab_variables as matlab_variables
    from aekit.data.readers.named_arrays import (
        ArrayOptions as ArrayOptions,
        densify as densify,
        read_named_arrays as read_named_arrays,
    )
    from aekit.data.readers.numpy_files import (
        LABEL_NAMES as LABEL_NAMES,
        read_npy as read_npy,
        read_npz as read_npz,
    )
    from aekit.data.readers.numpy_folders import (
        find_labels_beside as find_labels_beside,
        holds_arrays as holds_arrays,
        read_labels_file as read_labels_file,
        read_numpy_folder as read_numpy_folder,
    )
    from aekit.data.readers.patches import window_corners as window_corners
    from aekit.data.readers.record_options import ColumnOptions as ColumnOptions, RecordOptions as RecordOptions
    from aekit.data.readers.record_rows import (
        LanceRecords as LanceRecords,
        ParquetRecords as ParquetRecords,
        TableRecords as TableRecords,
    )
    from aekit.data.readers.recordings import (
        RECORDING_ENDINGS as RECORDING_ENDINGS,
        TIME_COLUMNS as TIME_COLUMNS,
        Recording as Recording,
        match_sound as match_sound,
        read_recordings as read_recordings,
    )
    from aekit.data.readers.records import (
        has_samples as has_samples,
        image_columns as image_columns,
        parquet_schema as parquet_schema,
    )
    from aekit.data.readers.resizing import DecodingOptions as DecodingOptions, ResizingOptions as ResizingOptions
    from aekit.data.readers.saved_datasets import (
        dataset_to_table as dataset_to_table,
        join_splits as join_splits,
        read_saved_dataset as read_saved_dataset,
    )
    from aekit.data.readers.series import (
        GapOptions as GapOptions,
        SeriesOptions as SeriesOptions,
        SeriesSource as SeriesSource,
        find_parts as find_parts,
        holds_series as holds_series,
        looks_like_ucr as looks_like_ucr,
    )
    from aekit.data.readers.shards import (
        expand_files as expand_files,
        holds_only as holds_only,
        list_shards as list_shards,
    )
    from aekit.data.readers.streamed_datasets import StreamedRecords as StreamedRecords
    from aekit.data.readers.table_columns import (
        Categories as Categories,
        Missing as Missing,
        Tabular as Tabular,
        read_columns as read_columns,
    )
    from aekit.data.readers.table_folders import parts_in as parts_in, read_parts as read_parts
    from aekit.data.readers.tables import (
        LABEL_COLUMNS as LABEL_COLUMNS,
        find_column as find_column,
        read_table as read_table,
        to_labels as to_labels,
    )
    from aekit.data.readers.tar_shards import read_tar_shards as read_tar_shards
    from aekit.data.readers.video import Video as Video, VideoReader as VideoReader
    from aekit.data.readers.windows import WindowCutter as WindowCutter
    from aekit.data.reading import hash_content as hash_content, reading as reading
    from aekit.data.resampling import resample as resample
    from aekit.data.samples import Samples as Samples
    from aekit.data.source import ArraySource as ArraySource, RowIds as RowIds, Source as Source
    from aekit.data.spec import Column as Column, Kind as Kind, Resize as Resize, SampleSpec as SampleSpec
    from aekit.encoder.backbone import Backbone as Backbone, ModuleBackbone as ModuleBackbone, TiedLayer as TiedLayer
    from aekit.encoder.encoder import Encoder as Encoder, temporary_seed as temporary_seed
    from aekit.encoder.eval_mode import eval_mode as eval_mode
    from aekit.encoder.preprocessing import Preprocess as Preprocess
    from aekit.encoder.pretrained import cached_repositories as cached_repositories
    from aekit.errors import (
        AekitError as AekitError,
        DataError as DataError,
        IdentityError as IdentityError,
        RecipeError as RecipeError,
        closest_name as closest_name,
        importing as importing,
    )
    from aekit.evaluation.clusterers import (
        CLUSTER_COUNTS as CLUSTER_COUNTS,
        fit_hdbscan as fit_hdbscan,
        fit_kmeans as fit_kmeans,
        silhouettes as silhouettes,
    )
    from aekit.evaluation.linear.draws import draws_at_once as draws_at_once, fit_draws as fit_draws
    from aekit.evaluation.linear.probe import SEARCH_TOLERANCE as SEARCH_TOLERANCE, fit_logistic as fit_logistic
    from aekit.evaluation.linear.ridge import fit_ridge as fit_ridge
    from aekit.evaluation.metrics.classification import (
        confusion_matrix as confusion_matrix,
        majority_class_accuracy as majority_class_accuracy,
        per_class_metrics as per_class_metrics,
    )
    from aekit.evaluation.metrics.clustering import (
        MAX_CHOOSING_ROWS as MAX_CHOOSING_ROWS,
        choose_cluster_count as choose_cluster_count,
        evaluate_clusters as evaluate_clusters,
        resolve_cluster_count as resolve_cluster_count,
    )
    from aekit.evaluation.metrics.detection import (
        ANOMALY_NAMES as ANOMALY_NAMES,
        average_precisions as average_precisions,
        mean_detection_metrics as mean_detection_metrics,
    )
    from aekit.evaluation.metrics.intervals import bootstrap as bootstrap
    from aekit.evaluation.metrics.outlier_scores import (
        OUTLIER_SCORES as OUTLIER_SCORES,
        outlier_scores as outlier_scores,
    )
    from aekit.evaluation.model_selection import assign_folds as assign_folds, select_setting as select_setting
    from aekit.evaluation.neighbors import nearest_neighbors as nearest_neighbors, rank_neighbors as rank_neighbors
    from aekit.evaluation.results import Metric as Metric, Result as Result, Split as Split
    from aekit.evaluation.splits import sample_per_class as sample_per_class, stratified_sample as stratified_sample
    from aekit.index.databases import (
        GRAPH_COUNT as GRAPH_COUNT,
        DatabaseIndex as DatabaseIndex,
        GraphOptions as GraphOptions,
    )
    from aekit.index.engine import BatchFactory as BatchFactory, Index as Index, Similarity as Similarity
    from aekit.index.faiss_files import FAISS_PARTS as FAISS_PARTS, check_faiss_index as check_faiss_index
    from aekit.index.openblas import import_with_better_core as import_with_better_core
    from aekit.io.atomic import file_sha256 as file_sha256
    from aekit.io.cache_folder import cache_folder as cache_folder
    from aekit.io.memory import check_memory as check_memory
    from aekit.io.threads import usable_cores as usable_cores
    from aekit.io.weights import (
        load_error as load_error,
        read_weights as read_weights,
        state_dict_differences as state_dict_differences,
    )
    from aekit.nn.gather import (
        batch_mean as batch_mean,
        batch_sum as batch_sum,
        gather as gather,
        own_rows as own_rows,
    )
    from aekit.objectives.base import (
        Batch as Batch,
        Objective as Objective,
        Pretext as Pretext,
        Step as Step,
        Variant as Variant,
    )
    from aekit.objectives.restoration import DamagedBatch as DamagedBatch, RestorationTask as RestorationTask
    from aekit.registry.hookspecs import API_VERSION as API_VERSION, Entry as Entry, hookimpl as hookimpl
    from aekit.registry.options import Field as Field


GROUPS = {
    "Registration": {
        "aekit.registry.hookspecs": "Entry hookimpl API_VERSION",
        "aekit.registry.options": "Field",
        "aekit.errors": "AekitError DataError IdentityError RecipeError closest_name importing",
    },
    "Variants and pretext tasks": {
        "aekit.objectives.base": "Variant Pretext Objective Step Batch",
        "aekit.objectives.restoration": "RestorationTask DamagedBatch",
        "aekit.nn.gather": "gather own_rows batch_mean batch_sum",
    },
    "Backbones": {
        "aekit.encoder.backbone": "Backbone ModuleBackbone TiedLayer",
        "aekit.encoder.encoder": "Encoder temporary_seed",
        "aekit.encoder.eval_mode": "eval_mode",
        "aekit.encoder.preprocessing": "Preprocess",
        "aekit.data.framing": "Framing per_channel preprocessing_advice",
        "aekit.encoder.pretrained": "cached_repositories",
        "aekit.io.weights": "read_weights load_error state_dict_differences",
        "aekit.io.atomic": "file_sha256",
    },
    "Sources": {
        "aekit.data.source": "Source ArraySource RowIds",
        "aekit.data.spec": "SampleSpec Kind Column Resize",
        "aekit.data.samples": "Samples",
        "aekit.data.contents": "Contents",
        "aekit.data.metadata": "Metadata",
        "aekit.data.opening": "open_data",
        "aekit.data.in_memory": "open_contents open_named_arrays open_records from_array",
        "aekit.data.axes": "KindOption Layout infer_axes",
        "aekit.data.reading": "reading hash_content",
        "aekit.data.readers.shards": "list_shards expand_files holds_only",
        "aekit.data.readers.endings": (
            "ARRAY_ENDINGS IMAGE_ENDINGS SHEET_ENDINGS SOUND_ENDINGS STATISTICS_ENDINGS TABLE_ENDINGS TEXT_ENDINGS "
            "VIDEO_ENDINGS"
        ),
        "aekit.data.readers.file_tables": "MetadataOption describe_files",
        "aekit.io.cache_folder": "cache_folder",
        "aekit.io.memory": "check_memory",
        "aekit.io.threads": "usable_cores",
    },
    "Sources of images": {
        "aekit.data.readers.image_lists": "Listing MasksOption list_images list_folder lists_images",
        "aekit.data.readers.folders": "contains_files",
        "aekit.data.readers.image_headers": (
            "MAX_MEGAPIXELS BadImage HeaderSurprises all_headers choose_spec describe_losses draw_files"
        ),
        "aekit.data.readers.images": "ImageItems read_images read_windows for_each_full_size",
        "aekit.data.readers.patches": "window_corners",
        "aekit.data.readers.resizing": "DecodingOptions ResizingOptions",
        "aekit.data.resampling": "resample",
        "aekit.data.readers.cifar": "find_cifar_files read_cifar_folder",
        "aekit.data.readers.idx": "find_image_files find_labels_file read_idx read_mnist_folder",
        "aekit.data.readers.tar_shards": "read_tar_shards",
    },
    "Sources of series, recordings and video": {
        "aekit.data.readers.series": "SeriesSource SeriesOptions GapOptions find_parts holds_series looks_like_ucr",
        "aekit.data.readers.recordings": ("Recording RECORDING_ENDINGS TIME_COLUMNS match_sound read_recordings"),
        "aekit.data.readers.video": "Video VideoReader",
        "aekit.data.readers.windows": "WindowCutter",
    },
    "Sources of tables, records and arrays": {
        "aekit.data.readers.tables": "LABEL_COLUMNS find_column read_table to_labels",
        "aekit.data.readers.table_columns": "Tabular Categories Missing read_columns",
        "aekit.data.readers.table_folders": "parts_in read_parts",
        "aekit.data.readers.delimited": "TextFormat",
        "aekit.data.readers.records": "has_samples image_columns parquet_schema",
        "aekit.data.readers.record_options": "RecordOptions ColumnOptions",
        "aekit.data.readers.record_rows": "TableRecords ParquetRecords LanceRecords",
        "aekit.data.readers.streamed_datasets": "StreamedRecords",
        "aekit.data.readers.saved_datasets": "dataset_to_table join_splits read_saved_dataset",
        "aekit.data.readers.arrow_files": "read_arrow",
        "aekit.data.readers.json_lines": "read_json_lines",
        "aekit.data.readers.named_arrays": "ArrayOptions densify read_named_arrays",
        "aekit.data.readers.numpy_files": "LABEL_NAMES read_npy read_npz",
        "aekit.data.readers.numpy_folders": "find_labels_beside holds_arrays read_labels_file read_numpy_folder",
        "aekit.data.readers.matlab_files": "matlab_variables",
    },
    "Indexes": {
        "aekit.index.engine": "Index BatchFactory Similarity",
        "aekit.index.databases": "DatabaseIndex GraphOptions GRAPH_COUNT",
        "aekit.index.faiss_files": "FAISS_PARTS check_faiss_index",
        "aekit.index.openblas": "import_with_better_core",
    },
    "Evaluators": {
        "aekit.evaluation.results": "Result Metric Split",
        "aekit.evaluation.metrics.intervals": "bootstrap",
        "aekit.evaluation.splits": "sample_per_class stratified_sample",
        "aekit.evaluation.model_selection": "assign_folds select_setting",
        "aekit.evaluation.metrics.classification": "confusion_matrix majority_class_accuracy per_class_metrics",
        "aekit.evaluation.linear.probe": "SEARCH_TOLERANCE fit_logistic",
        "aekit.evaluation.linear.ridge": "fit_ridge",
        "aekit.evaluation.linear.draws": "draws_at_once fit_draws",
        "aekit.evaluation.neighbors": "nearest_neighbors rank_neighbors",
        "aekit.evaluation.clusterers": "CLUSTER_COUNTS fit_hdbscan fit_kmeans silhouettes",
        "aekit.evaluation.metrics.clustering": "MAX_CHOOSING_ROWS choose_cluster_count evaluate_clusters resolve_cluster_count",
        "aekit.evaluation.metrics.detection": "ANOMALY_NAMES average_precisions mean_detection_metrics",
        "aekit.evaluation.metrics.outlier_scores": "OUTLIER_SCORES outlier_scores",
    },
    "Examples": {
        "aekit.data.examples": "images encoded_images image_table video write_mnist write_recording write_series",
    },
}
"""Kind of plugin -> module -> the names that it defines, separated by spaces; the contract comes first."""

if not TYPE_CHECKING:  # names are resolved on first use, so that a hook module does not import torch
    _HOMES = {home: names for homes in GROUPS.values() for home, names in homes.items()}
    __getattr__, __all__ = lazy_exports(__name__, _HOMES)
