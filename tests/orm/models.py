"""Models with every relation and every field type; they belong to the test app, whose tables pytest-django makes."""

from __future__ import annotations

import uuid

from django.contrib.postgres import fields as postgres
from django.contrib.postgres.search import SearchVectorField
from django.db import models


class Country(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "app"


class Writer(models.Model):
    name = models.CharField(max_length=50)
    email = models.EmailField(unique=True)
    country = models.ForeignKey(Country, models.CASCADE, null=True)

    class Meta:
        app_label = "app"


class Topic(models.Model):
    word = models.SlugField()

    class Meta:
        app_label = "app"


class Work(models.Model):
    title = models.CharField(max_length=50)
    year = models.IntegerField(default=2000)
    writer = models.ForeignKey(Writer, models.CASCADE, null=True, related_name="works")
    topics = models.ManyToManyField(Topic, related_name="works")

    class Meta:
        app_label = "app"


class SortedWork(Work):
    """A proxy whose default order goes through relations."""

    class Meta:
        app_label = "app"
        proxy = True
        ordering = ["writer__country__name"]


class Play(Work):
    """Multi-table inheritance: its rows lie in two tables."""

    acts = models.IntegerField(default=5)

    class Meta:
        app_label = "app"


class Review(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    work = models.OneToOneField(Work, models.CASCADE)
    writer = models.ForeignKey(Writer, models.CASCADE, to_field="email", null=True)
    stars = models.IntegerField(default=3, db_column="number of stars")

    class Meta:
        app_label = "app"
        db_table = "app review"


class Seat(models.Model):
    pk = models.CompositePrimaryKey("row", "number")
    row = models.IntegerField()
    number = models.IntegerField()

    class Meta:
        app_label = "app"


class Everything(models.Model):
    """One field of each type that Django ships."""

    big = models.BigIntegerField(null=True)
    small = models.SmallIntegerField(null=True)
    integer = models.IntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    boolean = models.BooleanField(null=True)
    char = models.CharField(max_length=100, null=True)
    text = models.TextField(null=True)
    slug = models.SlugField(null=True)
    email = models.EmailField(null=True)
    url = models.URLField(null=True)
    uuid = models.UUIDField(null=True)
    decimal = models.DecimalField(max_digits=30, decimal_places=10, null=True)
    real = models.FloatField(null=True)
    date = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    time = models.TimeField(null=True)
    duration = models.DurationField(null=True)
    binary = models.BinaryField(null=True)
    json = models.JSONField(null=True)
    address = models.GenericIPAddressField(null=True)
    path = models.FilePathField(null=True, path="/")
    file = models.FileField(null=True)
    image_name = models.CharField(max_length=100, null=True, db_column="Odd name")
    foreign = models.ForeignKey(Work, models.CASCADE, null=True, related_name="+")
    by_email = models.ForeignKey(Writer, models.CASCADE, null=True, to_field="email", related_name="+")
    single = models.OneToOneField(Review, models.CASCADE, null=True, related_name="+")
    doubled = models.GeneratedField(
        expression=models.F("small") * 2, output_field=models.BigIntegerField(), db_persist=True
    )
    day = models.GeneratedField(expression=models.F("date"), output_field=models.DateField(), db_persist=True)
    # django.contrib.postgres
    integers = postgres.ArrayField(models.IntegerField(), null=True)
    words = postgres.ArrayField(models.CharField(max_length=50, null=True), null=True)
    flags = postgres.ArrayField(models.BooleanField(), null=True)
    dates = postgres.ArrayField(models.DateField(), null=True)
    moments = postgres.ArrayField(models.DateTimeField(), null=True)
    decimals = postgres.ArrayField(models.DecimalField(max_digits=20, decimal_places=4), null=True)
    uuids = postgres.ArrayField(models.UUIDField(), null=True)
    addresses = postgres.ArrayField(models.GenericIPAddressField(), null=True)
    blobs = postgres.ArrayField(models.BinaryField(), null=True)
    nested = postgres.ArrayField(postgres.ArrayField(models.IntegerField(null=True)), null=True)
    integer_range = postgres.IntegerRangeField(null=True)
    big_range = postgres.BigIntegerRangeField(null=True)
    decimal_range = postgres.DecimalRangeField(null=True)
    moment_range = postgres.DateTimeRangeField(null=True)
    date_range = postgres.DateRangeField(null=True)
    search = SearchVectorField(null=True)

    class Meta:
        app_label = "app"


class Labelled(models.Model):
    """The field types that need an extension of PostgreSQL; the test that uses it makes the table."""

    labels = postgres.HStoreField(null=True)
    many_labels = postgres.ArrayField(postgres.HStoreField(), null=True)

    class Meta:
        app_label = "app"
        managed = False


class Prefixed(models.CharField):
    """A text that Python knows as something else, here with a prefix."""

    def from_db_value(self, value: str, expression: object, connection: object) -> str:
        return f"no. {value}"


class Badge(models.Model):
    code = Prefixed(max_length=9, primary_key=True)

    class Meta:
        app_label = "app"
        managed = False


class Print(models.Model):
    hash = models.BinaryField(primary_key=True)

    class Meta:
        app_label = "app"
        managed = False


class Finger(models.Model):
    """Its key is another table's."""

    hash = models.OneToOneField(Print, models.CASCADE, primary_key=True)

    class Meta:
        app_label = "app"
        managed = False
