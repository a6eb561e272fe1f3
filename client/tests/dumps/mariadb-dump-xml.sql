<?xml version="1.0"?>
<mysqldump xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<database name="shop">
	<table_structure name="item">
		<field Field="id" Type="int(11)" Null="NO" Key="PRI" Extra="" Comment="" />
		<field Field="name" Type="varchar(40)" Null="YES" Key="" Default="NULL" Extra="" Comment="" />
		<key Table="item" Non_unique="0" Key_name="PRIMARY" Seq_in_index="1" Column_name="id" Collation="A" Cardinality="2" Null="" Index_type="BTREE" Comment="" Index_comment="" Ignored="NO" />
		<options Name="item" Engine="InnoDB" Version="10" Row_format="Dynamic" Rows="2" Avg_row_length="8192" Data_length="16384" Max_data_length="0" Index_length="0" Data_free="0" Create_time="2026-11-30 02:46:48" Update_time="2026-11-30 02:46:48" Collation="latin1_swedish_ci" Create_options="" Comment="" Max_index_length="0" Temporary="N" />
	</table_structure>
	<table_data name="item">
	<row>
		<field name="id">1</field>
		<field name="name">tea</field>
	</row>
	<row>
		<field name="id">2</field>
		<field name="name">it's</field>
	</row>
	</table_data>
</database>
</mysqldump>
